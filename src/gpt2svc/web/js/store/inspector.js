// @ts-check
/** Where each token of a reply came from: its tokens, and the distribution at one place in it. */

import { batch, computed, signal } from "../kernel/signal.js";
import { distributionOf } from "../lib/sampling.js";

const PAUSE_MS = 120;
const MOST_KEPT = 200; // distributions: 40 MB of GPT-2's

/** @typedef {import("../engine/types.js").Message} Message */

export class Inspector {
  isOpen = signal(false);
  /** The reply that is looked into; null: a text that its user writes. */
  message = signal(/** @type {Message | null} */ (null));
  typed = signal("");
  tokens = signal(/** @type {import("../engine/types.js").MessageTokens | null} */ (null));
  /** How many of the reply's tokens stand before the place that is looked at. */
  place = signal(0);
  problem = signal(/** @type {any} */ (null));
  /** @type {import("../kernel/signal.js").Signal<readonly string[]>} */ vocabulary = signal(/** @type {readonly string[]} */ ([]));
  #logits = signal(/** @type {{place: number, logits: Float32Array} | null} */ (null));
  /** @type {Map<number, Float32Array>} */ #known = new Map();
  /** @type {Map<string, Promise<readonly string[]>>} */ #vocabularies = new Map();
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  #asking = new AbortController();
  /** @type {number | null} */ #asked = null;

  /** @param {import("./app.js").Stores} app */
  constructor(app) {
    this.app = app;
    /** The distribution at the place, by the settings as they are now; null while it is not known yet. */
    this.distribution = computed(() => {
      const tokens = this.tokens();
      const found = this.#logits();
      if (tokens === null || found === null || found.place !== this.place()) return null;
      const history = [...tokens.prompt_token_ids, ...tokens.reply_token_ids.slice(0, found.place)];
      return distributionOf(found.logits, history, tokens.prompt_token_ids.length, app.sampling.values(), tokens.eos_token_id);
    });
    /** The token that the reply has at the place; null at its end. */
    this.chosen = computed(() => this.tokens()?.reply_token_ids[this.place()] ?? null);
  }

  /** @param {Message | null} message a reply @returns {Promise<void>} */
  open(message) {
    this.close();
    this.message.set(message);
    this.isOpen.set(true);
    return this.#read(message ?? this.typed.peek());
  }

  /** The text that a next token is looked for after. @param {string} text */
  write(text) {
    this.typed.set(text);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#read(text), PAUSE_MS);
  }

  /** @param {Message | string} subject */
  async #read(subject) {
    const isCurrent = () => this.isOpen.peek() && subject === (this.message.peek() ?? this.typed.peek());
    const { engine, chat } = this.app;
    const isText = typeof subject === "string";
    this.#asking.abort();
    const asking = (this.#asking = new AbortController());
    if (subject === "") return this.tokens.set(null);
    try {
      const tokens = await (isText ? engine.textTokens(subject, chat.model.peek()?.id) : engine.tokens(subject));
      const vocabulary = await this.#vocabulary(tokens);
      const logits = isText && isCurrent() ? await engine.logits({ prompt: subject, model: tokens.model }, asking.signal) : null;
      if (!isCurrent()) return;
      batch(() => {
        this.problem.set(null);
        this.vocabulary.set(vocabulary);
        this.tokens.set(tokens);
        this.#logits.set(logits && { place: 0, logits });
      });
    } catch (error) {
      if (isCurrent()) this.problem.set(error);
    }
  }

  close() {
    clearTimeout(this.#timer);
    this.#asked = null;
    this.#asking.abort();
    this.#known.clear();
    batch(() => {
      this.isOpen.set(false);
      for (const each of [this.message, this.tokens, this.problem, this.#logits]) each.set(null);
      this.place.set(0);
    });
  }

  /** Look at a place; whoever hurries past it asks nothing. @param {number} place */
  look(place) {
    if (place === this.#asked) return;
    this.#asked = place;
    clearTimeout(this.#timer);
    this.#asking.abort();
    batch(() => {
      this.place.set(place);
      this.problem.set(null);
    });
    const known = this.#known.get(place);
    if (known !== undefined) this.#logits.set({ place, logits: known });
    else this.#timer = setTimeout(() => void this.#ask(place), this.#known.size === 0 ? 0 : PAUSE_MS);
  }

  /** What a token stands for. @param {number} id */
  text(id) {
    return this.vocabulary()[id] || `<${id}>`;
  }

  /** Go on from this token: with a version of the reply that has it at the place, or with the text. @param {number} tokenId */
  branch(tokenId) {
    const message = this.message.peek();
    if (message === null) return this.write(this.typed.peek() + this.text(tokenId));
    const { seed, ...settings } = this.app.sampling.values.peek();
    const from = { num_reply_tokens: this.place.peek(), next_token_id: tokenId };
    this.close();
    void this.app.chat.outbox.again(message, "continue", { ...from, settings: seed === null ? settings : { ...settings, seed } });
  }

  /** @param {number} place */
  async #ask(place) {
    const message = this.message.peek();
    const asking = (this.#asking = new AbortController());
    if (message === null) return;
    try {
      const prefix = { conversation_id: message.conversation_id, message_id: message.id, num_reply_tokens: place };
      const logits = await this.app.engine.logits(prefix, asking.signal);
      if (asking.signal.aborted) return;
      if (this.#known.size >= MOST_KEPT) this.#known.clear();
      this.#known.set(place, logits);
      this.#logits.set({ place, logits });
    } catch (error) {
      if (asking.signal.aborted) return;
      this.#asked = null;
      this.problem.set(error);
    }
  }

  /** @param {{model: string, model_revision: string}} model */
  #vocabulary({ model, model_revision }) {
    const name = `${model} ${model_revision}`;
    const known = this.#vocabularies.get(name) ?? this.app.engine.vocabulary(model);
    this.#vocabularies.set(name, known);
    known.catch(() => this.#vocabularies.delete(name));
    return known;
  }
}
