// @ts-check
/** Stores what is moved in the sampling panel with its conversation, once the hand rests. */

const PAUSE_MS = 400;

export class SettingsKeeper {
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  /** @type {Set<string>} */ #changed = new Set();

  /** @param {import("./app.js").Stores} app @param {() => string | null} conversation its id, null while it has none */
  constructor(app, conversation) {
    this.app = app;
    this.conversation = conversation;
    app.sampling.onChange = (changes) => this.#note(changes);
  }

  /** Now: another conversation is about to be shown. */
  flush() {
    clearTimeout(this.#timer);
    const names = [...this.#changed];
    const id = this.conversation();
    this.#changed.clear();
    if (id === null || names.length === 0) return;
    const overrides = this.app.sampling.overrides.peek();
    const settings = Object.fromEntries(names.map((name) => [name, overrides[name] ?? null]));
    this.app.repository.update(id, { settings }).catch((error) => this.app.notices.problem(error));
  }

  /** @param {Record<string, any>} changes */
  #note(changes) {
    if (this.conversation() === null) {
      this.app.storage.set("settings:new", this.app.sampling.overrides.peek());
      return;
    }
    for (const name of Object.keys(changes)) this.#changed.add(name);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.flush(), PAUSE_MS);
  }
}
