// @ts-check
/** The browser's own storage, where a blocked or full one is a fact to tell and never an exception. */

import { signal } from "../kernel/signal.js";

const PREFIX = "gpt2svc:";

export class LocalStorage {
  /** Whether something could not be kept since the page was opened. */
  isBlocked = signal(false);
  /** @type {Map<string, string>} */ #memory = new Map();

  /** @param {string} name @returns {any} null where there is nothing, or nothing sound */
  get(name) {
    try {
      const text = this.#memory.get(name) ?? localStorage.getItem(PREFIX + name);
      return text === null ? null : JSON.parse(text);
    } catch {
      return null;
    }
  }

  /** @param {string} name @param {unknown} value null removes it */
  set(name, value) {
    const isGone = value === null || value === undefined;
    try {
      if (isGone) localStorage.removeItem(PREFIX + name);
      else localStorage.setItem(PREFIX + name, JSON.stringify(value));
      this.#memory.delete(name);
    } catch {
      this.isBlocked.set(true);
      this.#memory.set(name, JSON.stringify(value ?? null));
    }
  }

  /** Names that begin so. @param {string} start @returns {string[]} */
  names(start) {
    try {
      return Object.keys(localStorage)
        .filter((key) => key.startsWith(PREFIX + start))
        .map((key) => key.slice(PREFIX.length));
    } catch {
      return [...this.#memory.keys()].filter((name) => name.startsWith(start));
    }
  }
}
