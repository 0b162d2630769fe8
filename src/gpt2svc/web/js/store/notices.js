// @ts-check
/** Short messages at the edge of the page, by key and values: the language is chosen where they are shown. */

import { signal } from "../kernel/signal.js";

/** @typedef {{id: number, key: string, values?: Record<string, any>, problem?: any, undo?: () => void}} Notice */

const SHOWN_MS = 8000;

export class Notices {
  shown = signal(/** @type {Notice[]} */ ([]));
  #count = 0;

  /** @param {string} key @param {Record<string, any>} [values] @param {() => void} [undo] */
  tell(key, values, undo) {
    return this.#add({ id: ++this.#count, key, values, undo });
  }

  /** @param {any} error */
  problem(error) {
    if (error?.name === "AbortError" || error?.code === "invalid_api_key") return;
    this.#add({ id: ++this.#count, key: "notice.problem", problem: error });
  }

  /** @param {number} id */
  close(id) {
    this.shown.update((all) => all.filter((each) => each.id !== id));
  }

  /** @param {Notice} notice */
  #add(notice) {
    this.shown.update((all) => [...all.slice(-2), notice]);
    setTimeout(() => this.close(notice.id), SHOWN_MS);
    return notice.id;
  }
}
