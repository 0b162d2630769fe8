// @ts-check
/** The shown conversation: its tree of messages, the reply that is being written, and what has not been sent yet. */

import { batch, computed, signal } from "../kernel/signal.js";
import { shownPath } from "../lib/tree.js";
import { Outbox } from "./outbox.js";
import { Reply } from "./reply.js";
import { SettingsKeeper } from "./settings-keeper.js";
import { Viewer } from "./viewer.js";

/** @typedef {import("../engine/types.js").Message} Message */
/** @typedef {import("../engine/types.js").Conversation} Conversation */
/** @typedef {import("../engine/types.js").GenerationEvent} GenerationEvent */
/** @typedef {{kind: "send" | "regenerate" | "continue", path: string, body: any, key: string, parentId: string | null}} Request */

const ACTIVE = ["queued", "generating"];

export class Chat {
  /** Null: one that is not saved yet. */
  id = signal(/** @type {string | null} */ (null));
  conversation = signal(/** @type {Conversation | null} */ (null));
  messages = signal(/** @type {Message[]} */ ([]));
  state = signal(/** @type {"ready" | "loading" | "missing" | "failed"} */ ("ready"));
  chosen = signal(/** @type {Record<string, string>} */ ({}));
  /** The reply in progress; its message is in `messages` too. */
  reply = signal(/** @type {Reply | null} */ (null));
  /** The model for a conversation that is not saved yet. */
  newModel = signal(/** @type {string | null} */ (null));
  /** Messages that the model did not read for the latest reply. */
  dropped = signal(/** @type {ReadonlySet<string>} */ (new Set()));
  path = computed(() => shownPath(this.messages(), this.chosen()));
  /** Tokens a second, of replies made while the page was open. @type {Map<string, number>} */ rates = new Map();
  /** @type {Promise<void>} */ loading = Promise.resolve();
  /** @type {Viewer | null} */ #viewer = null;
  #opened = 0;
  #accepted = 0;
  #settings;

  /** @param {import("./app.js").Stores} app */
  constructor(app) {
    this.app = app;
    this.outbox = new Outbox(this, app);
    this.model = computed(() => {
      const name = this.conversation()?.model ?? this.newModel() ?? app.connection.health()?.model;
      return app.connection.models().find((each) => each.id === name) ?? (name ? { id: name } : null);
    });
    this.#settings = new SettingsKeeper(app, () => this.id.peek());
  }

  /** @param {string | null} id null begins a new one, which is saved once it is used */
  async open(id) {
    this.#settings.flush();
    this.app.inspector.close();
    this.#viewer?.leave();
    this.#viewer = null;
    const opened = ++this.#opened;
    batch(() => {
      this.id.set(id);
      this.conversation.set(null);
      this.messages.set([]);
      this.reply.set(null);
      this.dropped.set(new Set());
      this.chosen.set((id && this.app.storage.get(`branch:${id}`)) || {});
      this.state.set(id === null ? "ready" : "loading");
      if (id === null) this.app.sampling.load(this.app.storage.get("settings:new") ?? {});
    });
    this.app.storage.set("open", id);
    this.outbox.restore();
    this.loading = id === null ? Promise.resolve() : this.load(opened);
    await this.loading;
  }

  /** Again from the service, keeping what is shown until it is there. @returns {Promise<void>} */
  async load(opened = this.#opened) {
    const id = this.id.peek();
    if (id === null) return;
    const accepted = this.#accepted;
    try {
      const [conversation, messages] = await Promise.all([this.app.repository.get(id), this.app.repository.messages(id)]);
      if (opened !== this.#opened) return;
      const live = this.reply.peek();
      // A reply was accepted while this was on its way: what has come is older than what is shown.
      if (live === null && accepted !== this.#accepted) return await this.load(opened);
      const known = new Set(messages.map((message) => message.id));
      messages.push(...this.messages.peek().filter(({ id }) => !known.has(id) && live !== null && [live.userMessageId, live.messageId].includes(id)));
      batch(() => {
        this.conversation.set(conversation);
        this.app.sampling.load(conversation.settings);
        this.messages.set(messages);
        this.outbox.compare(messages);
        this.state.set("ready");
      });
      const active = messages.findLast((message) => ACTIVE.includes(message.status));
      if (active && this.reply.peek()?.messageId !== active.id) void this.#watch(active);
      else if (!active) void this.#readDropped(opened);
    } catch (error) {
      if (opened !== this.#opened) return;
      this.state.set(/** @type {any} */ (error).status === 404 ? "missing" : "failed");
      if (this.state.peek() === "failed") this.app.connection.check();
    }
  }

  /** Save it, if it is not yet. @returns {Promise<string>} its id */
  async save() {
    const id = this.id.peek();
    if (id !== null) return id;
    const opened = this.#opened;
    const model = this.newModel.peek();
    const fields = { ...(model === null ? {} : { model }), settings: this.app.sampling.overrides.peek() };
    const conversation = await this.app.repository.create(fields);
    this.app.conversations.put(conversation);
    if (opened === this.#opened) {
      batch(() => {
        this.id.set(conversation.id);
        this.conversation.set(conversation);
      });
      this.app.storage.set("open", conversation.id);
      this.app.storage.set("settings:new", null);
    }
    return conversation.id;
  }

  /**
   * Ask for a reply and watch it; resolves once it has ended or somebody has left.
   * @param {Request} request
   * @param {(event: GenerationEvent) => void} onAccepted
   * @throws what the service refused it for
   */
  async ask(request, onAccepted) {
    const opened = this.#opened;
    const reply = new Reply();
    const viewer = this.#newViewer(reply);
    await this.#run(viewer, reply, opened, (options) => this.app.engine.begin(request.path, request.body, { ...options, key: request.key }), (event) => {
      if (event.event !== "queued") return;
      onAccepted(event);
      if (opened === this.#opened) this.#accept(request, reply, viewer, event.data.prefix_text ?? "");
      else viewer.leave(); // it goes on without us
    });
  }

  async stop() {
    const reply = this.reply.peek();
    if (reply === null || reply.generationId === null || reply.isStopping.peek()) return;
    reply.isStopping.set(true);
    try {
      await this.app.engine.cancel(reply.generationId);
    } catch (error) {
      reply.isStopping.set(false);
      this.app.notices.problem(error);
    }
  }

  /** Show another branch. @param {Message} message @param {string} siblingId */
  choose(message, siblingId) {
    this.chosen.update((chosen) => ({ ...chosen, [message.parent_id ?? ""]: siblingId }));
    this.#keepChosen();
  }

  /** The text of a reply as a person wants it, beside the model's own. @param {Message} message @param {string} content */
  async editReply(message, content) {
    const edited = await this.app.repository.editReply(message.conversation_id, message.id, content);
    this.messages.update((messages) => [...messages, edited]);
    this.choose(edited, edited.id);
  }

  /** @param {string} model */
  async useModel(model) {
    const id = this.id.peek();
    if (id === null) return this.newModel.set(model);
    const conversation = await this.app.repository.update(id, { model });
    if (this.id.peek() === id) this.conversation.set(conversation);
  }

  /** Back from sleep or offline. */
  suspect() {
    this.#viewer?.suspect();
  }

  /** @param {Request} request @param {Reply} reply @param {Viewer} viewer @param {string} prefix */
  #accept(request, reply, viewer, prefix) {
    const now = new Date().toISOString();
    const conversation_id = /** @type {string} */ (reply.conversationId);
    /** @type {any} */ const blank = { conversation_id, settings: null, model: null, usage: null, finish_reason: null, error: null, created_at: now };
    const user = { ...blank, id: reply.userMessageId, parent_id: request.parentId, role: "user", content: request.body.content, status: "completed", generation_id: null };
    const answer = { ...blank, id: reply.messageId, parent_id: reply.userMessageId, role: "assistant", content: prefix, status: "queued", generation_id: reply.generationId };
    const known = new Set(this.messages.peek().map((message) => message.id));
    this.#viewer = viewer;
    this.#accepted += 1;
    batch(() => {
      this.messages.update((all) => [...all, ...[user, answer].filter((each) => !known.has(each.id))]);
      if (!known.has(user.id)) this.choose(user, user.id);
      this.choose(answer, answer.id);
      this.reply.set(reply);
    });
    void this.#refresh();
  }

  /** One that was begun before, here or elsewhere. @param {Message} message */
  async #watch(message) {
    const opened = this.#opened;
    const reply = new Reply();
    reply.generationId = message.generation_id; // `queued` comes first, and brings the rest
    const viewer = this.#newViewer(reply);
    this.#viewer = viewer;
    try {
      await this.#run(viewer, reply, opened, null, (event) => {
        if (event.event === "queued" && opened === this.#opened) this.reply.set(reply);
      });
    } catch (error) {
      this.app.notices.problem(error);
    }
  }

  /** @param {Reply} reply */
  #newViewer(reply) {
    const { connection, engine } = this.app;
    return new Viewer(engine, reply, connection.wakeup, () => connection.check());
  }

  /**
   * @param {Viewer} viewer @param {Reply} reply @param {number} opened
   * @param {((options: any) => AsyncIterable<GenerationEvent>) | null} begin
   * @param {(event: GenerationEvent) => void} onEvent
   */
  async #run(viewer, reply, opened, begin, onEvent) {
    const end = await viewer.run(begin, (event) => {
      onEvent(event);
      if (event.event === "started" && opened === this.#opened) this.#start(reply);
    });
    if (end === "left") return;
    if (opened !== this.#opened) return void this.app.conversations.load();
    await this.#finish(reply, end === "ended");
  }

  /** @param {Reply} reply */
  #start(reply) {
    this.dropped.set(new Set(reply.started.dropped_message_ids));
    const { model, settings } = reply.started;
    this.#change(reply.messageId, { model, settings, status: "generating" });
  }

  /** @param {Reply} reply @param {boolean} isWhole whether the stream brought its end */
  async #finish(reply, isWhole) {
    const { event, data } = reply.terminal ?? { event: "", data: {} };
    const isDone = isWhole && event === "done";
    if (isDone) {
      const rate = data.timings?.tokens_per_second;
      if (rate && reply.messageId) this.rates.set(reply.messageId, rate);
    }
    // What is stored counts: after a crash it may be a little shorter than what was seen here.
    const id = /** @type {string} */ (this.id.peek());
    const stored = isDone ? null : await this.app.repository.messages(id).catch(() => null);
    batch(() => {
      if (isDone) {
        const { status, finish_reason, usage } = data;
        this.#change(reply.messageId, { content: reply.text, status, finish_reason, usage });
      } else if (stored !== null) this.messages.set(stored);
      else this.#change(reply.messageId, { content: reply.text, status: "interrupted", error: data.message ?? null });
      this.reply.set(null);
      this.#viewer = null;
    });
    this.app.announcer.ended(reply, isDone ? data.status : "interrupted");
    await this.#refresh();
  }

  /** The title that the first message gave, and the place in the list. */
  async #refresh() {
    const id = this.id.peek();
    if (id === null) return;
    try {
      const conversation = await this.app.repository.get(id);
      this.app.conversations.put(conversation);
      if (this.id.peek() === id) this.conversation.set({ ...conversation, settings: this.conversation.peek()?.settings ?? {} });
    } catch {
      // The list says soon enough that the service is away.
    }
  }

  /** What the latest reply could not read, for the gauge and the line in the conversation. @param {number} opened */
  async #readDropped(opened) {
    const last = this.path.peek().findLast(({ message }) => message.generation_id !== null)?.message;
    if (!last?.generation_id || !last.usage) return;
    try {
      const generation = await this.app.engine.generation(last.generation_id);
      if (opened === this.#opened) this.dropped.set(new Set(generation.dropped_message_ids));
    } catch {
      // It only adds to what is shown.
    }
  }

  /** @param {string | null} id @param {Partial<Message>} changes */
  #change(id, changes) {
    this.messages.update((all) => all.map((each) => (each.id === id ? { ...each, ...changes } : each)));
  }

  #keepChosen() {
    const id = this.id.peek();
    if (id !== null) this.app.storage.set(`branch:${id}`, this.chosen.peek());
  }
}
