// @ts-check
/** Keeps the end of a growing text in view until the reader scrolls up, and again once they are back at the end. */

import { signal } from "../kernel/signal.js";

const NEAR_PX = 48;

export class StickToBottom {
  isPinned = signal(true);
  /** @type {HTMLElement} */ #view;
  #lastTop = 0;
  #observer = new ResizeObserver(() => this.#follow());

  /** @type {() => boolean} */ #hasText;

  /** @param {HTMLElement} view scrolls @param {HTMLElement} content grows in it @param {() => boolean} hasText */
  constructor(view, content, hasText) {
    this.#view = view;
    this.#hasText = hasText;
    this.#observer.observe(content);
    this.#observer.observe(view);
    view.addEventListener("scroll", () => this.#onScroll(), { passive: true });
  }

  toEnd() {
    this.isPinned.set(true);
    this.#follow();
  }

  stop() {
    this.#observer.disconnect();
  }

  #follow() {
    if (!this.isPinned.peek()) return;
    this.#view.scrollTop = this.#hasText() ? this.#view.scrollHeight : 0;
    this.#lastTop = this.#view.scrollTop;
  }

  #onScroll() {
    const { scrollTop, scrollHeight, clientHeight } = this.#view;
    const isNearEnd = scrollHeight - scrollTop - clientHeight <= NEAR_PX;
    // Only a move upwards is the reader's: growing text moves the end away, never the view.
    if (isNearEnd) this.isPinned.set(true);
    else if (scrollTop < this.#lastTop - 1) this.isPinned.set(false);
    this.#lastTop = scrollTop;
  }
}
