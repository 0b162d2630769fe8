// @ts-check
/** A reply while it is being written: what has arrived of it, counted by tokens, so that nothing comes twice. */

import { signal } from "../kernel/signal.js";

/** @typedef {"queued" | "waiting" | "writing" | "resuming"} Phase waiting: the model reads or is being loaded */

const RATE_MS = 250;

/** The stream left tokens out: it has to be taken up again where it was whole. */
export class GapError extends Error {
  code = "gap";
}

export class Reply {
  /** @type {string | null} */ generationId = null;
  /** @type {string | null} */ messageId = null;
  /** @type {string | null} */ conversationId = null;
  /** @type {string | null} */ userMessageId = null;
  /** Number of the last token that arrived. */
  seq = 0;
  /** @type {any} the data of `started` */ started = null;
  /** @type {{event: string, data: any} | null} */ terminal = null;
  length = signal(0);
  phase = signal(/** @type {Phase} */ ("queued"));
  position = signal(0);
  rate = signal(/** @type {number | null} */ (null));
  isStopping = signal(false);
  /** @type {string[]} */ #parts = [];
  #text = "";
  #firstAt = 0;
  #firstSeq = 0;
  #ratedAt = 0;

  /** All of it so far. */
  get text() {
    if (this.#parts.length > 0) {
      this.#text += this.#parts.join("");
      this.#parts = [];
    }
    return this.#text;
  }

  /**
   * @param {import("../engine/types.js").GenerationEvent} event
   * @returns {boolean} whether it was the last one
   */
  take({ event, seq, data }) {
    if (event === "queued") this.#queued(data);
    else if (event === "started") {
      this.started = data;
      if (this.phase.peek() !== "writing") this.phase.set("waiting");
    } else if (event === "token") this.#token(/** @type {number} */ (seq), data.text);
    else if (event === "done" || event === "error") {
      this.terminal = { event, data };
      return true;
    }
    return false;
  }

  /** @param {any} data */
  #queued(data) {
    const isNew = this.messageId === null;
    this.generationId = data.generation_id;
    this.messageId = data.message_id;
    this.conversationId = data.conversation_id;
    this.userMessageId = data.user_message_id;
    this.position.set(data.position);
    if (isNew && data.prefix_text) this.#add(data.prefix_text);
    if (this.phase.peek() !== "writing") this.phase.set(data.position > 0 ? "queued" : "waiting");
  }

  /** @param {number} seq @param {string} text */
  #token(seq, text) {
    if (seq <= this.seq) return; // sent again
    if (seq !== this.seq + 1) throw new GapError(`token ${seq} after ${this.seq}`);
    this.seq = seq;
    this.phase.set("writing");
    const now = performance.now();
    if (this.#firstAt === 0) [this.#firstAt, this.#firstSeq, this.#ratedAt] = [now, seq, now];
    else if (now - this.#ratedAt > RATE_MS) {
      this.#ratedAt = now;
      this.rate.set(((seq - this.#firstSeq) / (now - this.#firstAt)) * 1000);
    }
    this.#add(text);
  }

  /** @param {string} text */
  #add(text) {
    this.#parts.push(text);
    this.length.update((length) => length + text.length);
  }
}
