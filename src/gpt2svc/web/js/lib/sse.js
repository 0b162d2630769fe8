// @ts-check
/** Server-sent events from a fetch: unlike EventSource it sends headers and bodies, and says how a stream ended. */

/** @typedef {{event: string, id: string | null, data: string}} SseEvent */

/**
 * The events of a body, in order. Lines end at \n or \r\n and nowhere else: U+2028 is text.
 * An event that the end of the stream cuts is dropped: it was not sent whole.
 */
export class SseParser {
  #rest = "";
  #event = "";
  /** @type {string | null} */ #id = null;
  /** @type {string[]} */ #data = [];

  /** @param {string} chunk @returns {SseEvent[]} */
  push(chunk) {
    const lines = (this.#rest + chunk).split("\n");
    this.#rest = /** @type {string} */ (lines.pop());
    /** @type {SseEvent[]} */ const events = [];
    for (const raw of lines) {
      const line = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
      if (line === "") {
        if (this.#data.length > 0) {
          events.push({ event: this.#event || "message", id: this.#id, data: this.#data.join("\n") });
        }
        this.#event = "";
        this.#id = null;
        this.#data = [];
      } else this.#field(line);
    }
    return events;
  }

  /** @param {string} line */
  #field(line) {
    const colon = line.indexOf(":");
    if (colon === 0) return; // a comment: the server's ping
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + (line[colon + 1] === " " ? 2 : 1));
    if (name === "data") this.#data.push(value);
    else if (name === "event") this.#event = value;
    else if (name === "id") this.#id = value;
  }
}

/**
 * @param {Response} response
 * @param {() => void} [onBytes] called with each chunk, pings included
 * @returns {AsyncGenerator<SseEvent, void, void>}
 */
export async function* readEvents(response, onBytes = () => {}) {
  if (response.body === null) return;
  const parser = new SseParser();
  const decoder = new TextDecoder();
  const reader = response.body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      onBytes();
      yield* parser.push(decoder.decode(value, { stream: true }));
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
