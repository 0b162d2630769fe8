// @ts-check
/** Watches one reply to its end, however often the connection breaks on the way. */

import { backoffMs } from "../lib/backoff.js";
import { ApiError, NetworkError } from "../engine/http.js";
import { GapError } from "./reply.js";

// The service sends a ping every 15 s: a stream that is silent for longer than three of them has been cut unnoticed.
const SILENCE_MS = 50_000;
const QUIET_MS = 20_000; // after a sleep, a shorter silence is suspect already
const MOST_EMPTY = 5;

/** @typedef {import("../engine/types.js").GenerationEvent} GenerationEvent */
/** @typedef {import("../engine/types.js").StreamOptions} StreamOptions */

export class Viewer {
  #leaving = new AbortController();
  /** @type {AbortController | null} */ #attempt = null;
  #lastBytes = 0;

  /**
   * @param {import("../engine/types.js").Engine} engine
   * @param {import("./reply.js").Reply} reply
   * @param {import("../lib/backoff.js").Wakeup} wakeup
   * @param {() => void} onCut told each time that the service can't be reached
   */
  constructor(engine, reply, wakeup, onCut) {
    this.engine = engine;
    this.reply = reply;
    this.wakeup = wakeup;
    this.onCut = onCut;
  }

  /** The reply goes on without this viewer. */
  leave() {
    this.#leaving.abort();
  }

  /** Back from sleep: a silent stream is not waited for. */
  suspect() {
    if (performance.now() - this.#lastBytes > QUIET_MS) this.#attempt?.abort();
  }

  /**
   * @param {((options: StreamOptions) => AsyncIterable<GenerationEvent>) | null} begin the request that asks for the
   *   reply; null watches one that exists
   * @param {(event: GenerationEvent) => void} onEvent
   * @returns {Promise<"ended" | "left" | "seen">} seen: there is nothing more, and no ending either
   * @throws an error of the request itself, before the reply was accepted, and an ApiError of watching
   */
  async run(begin, onEvent) {
    let start = begin;
    for (let attempt = 0, empty = 0; !this.#leaving.signal.aborted; attempt += 1) {
      const before = this.reply.seq;
      try {
        const { isOver, count } = await this.#view(start, onEvent);
        if (isOver) return "ended";
        empty = count === 0 ? empty + 1 : 0;
        if (empty >= MOST_EMPTY) return "seen";
      } catch (error) {
        if (this.#leaving.signal.aborted) return "left";
        this.#require(error);
      }
      if (this.reply.seq > before) attempt = 0; // it was worth it
      start = null;
      this.reply.phase.set("resuming");
      await this.wakeup.sleep(backoffMs(attempt, 250, 8000), this.#leaving.signal);
    }
    return "left";
  }

  /** What can be waited out, is; the rest is thrown. @param {unknown} error */
  #require(error) {
    if (this.reply.generationId === null) throw error;
    if (error instanceof NetworkError) this.onCut();
    else if (error instanceof ApiError) {
      if (error.status !== 503 && error.status !== 429) throw error;
    } else if (!(error instanceof GapError) && !isAbort(error)) throw error;
  }

  /**
   * @param {((options: StreamOptions) => AsyncIterable<GenerationEvent>) | null} begin
   * @param {(event: GenerationEvent) => void} onEvent
   */
  async #view(begin, onEvent) {
    const attempt = new AbortController();
    const leave = () => attempt.abort();
    this.#leaving.signal.addEventListener("abort", leave);
    this.#attempt = attempt;
    this.#lastBytes = performance.now();
    const watchdog = setInterval(() => {
      if (this.reply.generationId !== null && performance.now() - this.#lastBytes > SILENCE_MS) attempt.abort();
    }, 5000);
    /** @type {StreamOptions} */
    const options = {
      signal: attempt.signal,
      onBytes: () => (this.#lastBytes = performance.now()),
      onAccepted: (generationId) => (this.reply.generationId = generationId),
    };
    let count = 0;
    try {
      const events = begin
        ? begin(options)
        : this.engine.watch(/** @type {string} */ (this.reply.generationId), this.reply.seq, options);
      for await (const event of events) {
        count += 1;
        const isOver = this.reply.take(event);
        onEvent(event);
        if (isOver) return { isOver, count };
      }
      return { isOver: false, count };
    } finally {
      clearInterval(watchdog);
      attempt.abort();
      this.#leaving.signal.removeEventListener("abort", leave);
      this.#attempt = null;
    }
  }
}

/** @param {unknown} error */
function isAbort(error) {
  return error instanceof DOMException && error.name === "AbortError";
}
