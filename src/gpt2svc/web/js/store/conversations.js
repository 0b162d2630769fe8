// @ts-check
/** The list of conversations: newest first, searched on the service, deleted with time to think again. */

import { computed, signal } from "../kernel/signal.js";

const UNDO_MS = 8000;
const SEARCH_PAUSE_MS = 200;

/** @typedef {import("../engine/types.js").Conversation} Conversation */

export class Conversations {
  /** @type {import("../kernel/signal.js").Signal<Conversation[]>} */ loaded = signal(/** @type {Conversation[]} */ ([]));
  search = signal("");
  state = signal(/** @type {"loading" | "ready" | "failed"} */ ("loading"));
  nextCursor = signal(/** @type {string | null} */ (null));
  /** @type {import("../kernel/signal.js").Signal<ReadonlySet<string>>} */ deleting = signal(new Set());
  shown = computed(() => this.loaded().filter((each) => !this.deleting().has(each.id)));
  /** @type {Map<string, ReturnType<typeof setTimeout>>} */ #timers = new Map();
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #searchTimer;
  #asked = 0;

  /**
   * @param {import("../engine/types.js").Repository} repository
   * @param {import("../lib/storage.js").LocalStorage} storage
   */
  constructor(repository, storage) {
    this.repository = repository;
    this.storage = storage;
    // A deletion that was not undone before the page was closed.
    for (const id of storage.get("deleting") ?? []) {
      this.deleting.update((ids) => new Set([...ids, id]));
      this.#timers.set(id, setTimeout(() => void this.#delete(id), 0));
    }
  }

  /** @param {boolean} [isMore] the next page, not the first */
  async load(isMore = false) {
    const asked = ++this.#asked;
    try {
      const cursor = isMore ? this.nextCursor.peek() : null;
      const page = await this.repository.list({ search: this.search.peek().trim(), cursor });
      if (asked !== this.#asked) return; // a later question is on its way
      this.loaded.set(isMore ? merged(this.loaded.peek(), page.data) : page.data);
      this.nextCursor.set(page.next_cursor);
      this.state.set("ready");
    } catch {
      if (asked === this.#asked) this.state.set("failed");
    }
  }

  /** @param {string} text */
  setSearch(text) {
    this.search.set(text);
    clearTimeout(this.#searchTimer);
    this.#searchTimer = setTimeout(() => void this.load(), SEARCH_PAUSE_MS);
  }

  /** Put a new or changed one in its place. @param {Conversation} conversation */
  put(conversation) {
    const others = this.loaded.peek().filter((each) => each.id !== conversation.id);
    this.loaded.set([conversation, ...others].sort((a, b) => (a.updated_at < b.updated_at ? 1 : -1)));
  }

  /** @param {string} id @param {string} title */
  async rename(id, title) {
    const before = this.loaded.peek();
    this.loaded.set(before.map((each) => (each.id === id ? { ...each, title } : each)));
    try {
      const conversation = await this.repository.update(id, { title });
      this.loaded.update((all) => all.map((each) => (each.id === id ? conversation : each)));
      return conversation;
    } catch (error) {
      this.loaded.set(before);
      throw error;
    }
  }

  /** Gone from the list at once, from the service a little later. @param {string} id @returns {() => void} undo */
  remove(id) {
    this.deleting.update((ids) => new Set([...ids, id]));
    this.#keepDeleting();
    this.#timers.set(id, setTimeout(() => void this.#delete(id), UNDO_MS));
    return () => {
      if (!this.#timers.has(id)) return;
      clearTimeout(this.#timers.get(id));
      this.#forget(id);
    };
  }

  /** @param {string} id */
  async #delete(id) {
    this.#timers.delete(id);
    try {
      await this.repository.remove(id);
      this.loaded.update((all) => all.filter((each) => each.id !== id));
    } catch (error) {
      // Still there, so it is shown again, unless somebody else has deleted it.
      if (/** @type {any} */ (error).status === 404) this.loaded.update((all) => all.filter((each) => each.id !== id));
    }
    this.#forget(id);
  }

  /** @param {string} id */
  #forget(id) {
    this.#timers.delete(id);
    this.deleting.update((ids) => new Set([...ids].filter((each) => each !== id)));
    this.#keepDeleting();
  }

  #keepDeleting() {
    const ids = [...this.deleting.peek()];
    this.storage.set("deleting", ids.length > 0 ? ids : null);
  }
}

/** @param {Conversation[]} before @param {Conversation[]} more */
function merged(before, more) {
  const known = new Set(before.map((each) => each.id));
  return [...before, ...more.filter((each) => !known.has(each.id))];
}
