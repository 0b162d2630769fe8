// @ts-check
/** Waiting between attempts: longer each time, with jitter, and over at once when something says that it is worth it. */

export class Wakeup {
  /** @type {Set<() => void>} */ #sleepers = new Set();

  /** End every wait that is under way. */
  wake() {
    for (const rouse of [...this.#sleepers]) rouse();
  }

  /** @param {number} delayMs @param {AbortSignal} [signal] ends the wait too @returns {Promise<void>} */
  sleep(delayMs, signal) {
    return new Promise((resolve) => {
      const over = () => {
        clearTimeout(timer);
        this.#sleepers.delete(over);
        signal?.removeEventListener("abort", over);
        resolve();
      };
      const timer = setTimeout(over, delayMs);
      this.#sleepers.add(over);
      signal?.addEventListener("abort", over);
      if (signal?.aborted) over();
    });
  }
}

/** @param {number} attempt from 0 @param {number} firstMs @param {number} mostMs */
export function backoffMs(attempt, firstMs, mostMs) {
  const full = Math.min(mostMs, firstMs * 2 ** attempt);
  return full * (0.75 + Math.random() / 2);
}
