// @ts-check
/** Whether the service answers, and what it says of itself. */

import { batch, computed, signal } from "../kernel/signal.js";
import { backoffMs, Wakeup } from "../lib/backoff.js";
import { ApiError } from "../engine/http.js";

const CALM_MS = 20_000;
const LOADING_MS = 700;

export class Connection {
  state = signal(/** @type {"new" | "up" | "down"} */ ("new"));
  health = signal(/** @type {import("../engine/types.js").Health | null} */ (null));
  /** When the next attempt begins, as Date.now() has it. */
  nextAt = signal(0);
  needsKey = signal(false);
  capabilities = signal(/** @type {import("../engine/types.js").Capabilities | null} */ (null));
  models = computed(() => this.health()?.models ?? []);
  /** Everything that waits for the service listens here. */
  wakeup = new Wakeup();
  #probe = new Wakeup();
  #key = /** @type {string | null} */ (null);
  #isRunning = false;

  /** @param {import("../lib/storage.js").LocalStorage} storage */
  constructor(storage) {
    this.storage = storage;
    this.#key = storage.get("api-key");
  }

  get key() {
    return this.#key;
  }

  /** @param {string} key */
  setKey(key) {
    this.#key = key;
    this.storage.set("api-key", key);
    this.needsKey.set(false);
    this.check();
  }

  /** Ask at once: something has changed, or a request has failed. */
  check() {
    this.#probe.wake();
    this.wakeup.wake();
  }

  /** @param {import("../engine/types.js").Engine} engine */
  async run(engine) {
    if (this.#isRunning) return;
    this.#isRunning = true;
    for (let failures = 0; ; ) {
      failures = (await this.#ask(engine)) ? 0 : failures + 1;
      const isLoading = this.models.peek().some((model) => isOnItsWay(model));
      const delay = failures > 0 ? backoffMs(failures - 1, 1000, 30_000) : isLoading ? LOADING_MS : CALM_MS;
      this.nextAt.set(Date.now() + delay);
      await this.#probe.sleep(delay);
    }
  }

  /** @param {import("../engine/types.js").Engine} engine */
  async #ask(engine) {
    try {
      const health = await engine.health();
      if (this.capabilities.peek() === null) this.capabilities.set(await engine.capabilities());
      const wasDown = this.state.peek() !== "up";
      batch(() => {
        this.health.set(health);
        this.state.set("up");
      });
      if (wasDown) this.wakeup.wake();
      return true;
    } catch (error) {
      // Without its key the service does answer: what is missing is asked for elsewhere.
      this.state.set(error instanceof ApiError && error.status === 401 ? "up" : "down");
      return false;
    }
  }
}

/** @param {import("../engine/types.js").Model} model */
export function isOnItsWay(model) {
  return ["starting", "loading", "restarting"].includes(model.status);
}
