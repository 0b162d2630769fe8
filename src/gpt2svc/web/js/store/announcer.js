// @ts-check
/** What a screen reader is told, in one place: that a reply has begun and how it ended, never its tokens one by one. */

import { signal } from "../kernel/signal.js";

export class Announcer {
  message = signal(/** @type {{key: string, values?: Record<string, any>} | null} */ (null));

  /** @param {string} key @param {Record<string, any>} [values] */
  say(key, values) {
    this.message.set({ key, values });
  }

  /** @param {import("./reply.js").Reply} reply @param {string} status */
  ended(reply, status) {
    const words = reply.text.split(/\s+/).filter(Boolean).length;
    this.say(status === "completed" ? "status.done" : "status.stopped", { count: words });
  }
}
