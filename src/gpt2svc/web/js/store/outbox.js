// @ts-check
/** What the user has asked for and the service has not accepted yet. It survives a reload, and is never sent twice. */

import { signal } from "../kernel/signal.js";
import { backoffMs, Wakeup } from "../lib/backoff.js";
import { randomId } from "../lib/ids.js";
import { ApiError, NetworkError } from "../engine/http.js";

/** @typedef {"sending" | "offline" | "busy" | "loading" | "locked" | "refused" | "kept"} State kept: left over from before a reload */
/** @typedef {{request: import("./chat.js").Request, content: string, state: State, problem: any, retryAt: number}} Item */

const RETRY_MS = 2000;

export class Outbox {
  item = signal(/** @type {Item | null} */ (null));
  /** Text that comes back to where it was typed. */
  returned = signal(/** @type {{text: string} | null} */ (null));
  #round = 0;
  #turn = new Wakeup();

  /** @param {import("./chat.js").Chat} chat @param {import("./app.js").Stores} app */
  constructor(chat, app) {
    this.chat = chat;
    this.app = app;
  }

  /**
   * Say something after the end of the shown branch, or, to put an earlier message otherwise, after `parentId`.
   * @param {string} content @param {string | null} [parentId]
   */
  send(content, parentId) {
    const last = this.chat.path.peek().at(-1)?.message.id ?? null;
    const parent = parentId === undefined ? last : parentId;
    /** @type {any} */ const body = { content };
    // A conversation's first message has no parent; a second beginning has to say so.
    if (parent !== null || parentId !== undefined) body.parent_id = parent;
    return this.#ask("send", "messages", body, parent);
  }

  /** @param {import("../engine/types.js").Message} message a reply @param {"regenerate" | "continue"} kind @param {object} [body] */
  again(message, kind, body = {}) {
    return this.#ask(kind, `messages/${encodeURIComponent(message.id)}/${kind}`, body, message.parent_id);
  }

  retry() {
    const item = this.item.peek();
    if (item !== null) return this.#try(item.request);
  }

  /** Don't wait any longer. */
  hurry() {
    this.#turn.wake();
    this.app.connection.check();
  }

  /** Not sent: the text goes back. */
  withdraw() {
    const item = this.item.peek();
    this.#round += 1;
    this.#put(null);
    if (item?.content) this.returned.set({ text: item.content });
  }

  /** After a reload, or a look at another conversation. */
  restore() {
    this.#round += 1;
    const request = this.app.storage.get(this.#name());
    this.item.set(
      request === null ? null : { request, content: request.body.content ?? "", state: "kept", problem: null, retryAt: 0 },
    );
  }

  /** Was it accepted after all, and only its answer lost? @param {readonly import("../engine/types.js").Message[]} messages */
  compare(messages) {
    const item = this.item.peek();
    if (item === null || item.state !== "kept") return;
    const { parentId, body, kind } = item.request;
    const isThere = messages.some(
      (each) => kind === "send" && each.role === "user" && each.parent_id === parentId && each.content === body.content,
    );
    if (isThere || kind !== "send") this.#put(null);
  }

  /**
   * @param {import("./chat.js").Request["kind"]} kind @param {string} path @param {any} body
   * @param {string | null} parentId
   */
  #ask(kind, path, body, parentId) {
    const settings = this.app.sampling.overrides.peek();
    body = { ...(Object.keys(settings).length > 0 ? { settings } : {}), ...body, stream: true };
    return this.#try({ kind, path, body, key: randomId(), parentId });
  }

  /** @param {import("./chat.js").Request} request */
  async #try(request) {
    const round = ++this.#round;
    const isCurrent = () => round === this.#round;
    const content = request.body.content ?? "";
    for (let retries = 0; isCurrent(); ) {
      this.#put({ request, content, state: "sending", problem: null, retryAt: 0 });
      try {
        const id = await this.chat.save();
        if (!isCurrent()) return;
        this.#move(request);
        const path = `api/conversations/${encodeURIComponent(id)}/${request.path}`;
        let isAccepted = false;
        const onAccepted = () => {
          isAccepted = true;
          this.app.storage.set(`outbox:${id}`, null);
          if (isCurrent()) this.#put(null);
        };
        await this.chat.ask({ ...request, path }, onAccepted);
        if (!isAccepted && isCurrent()) this.#put(null);
        return;
      } catch (error) {
        if (!isCurrent()) return;
        if (this.item.peek() === null) return this.app.notices.problem(error); // it was accepted, and watching failed
        const wait = this.#wait(error, retries);
        if (wait === null) return this.#refuse(request, error);
        retries += 1;
        this.#put({ request, content, state: wait.state, problem: error, retryAt: Date.now() + wait.ms });
        await (wait.state === "busy" ? this.#turn : this.app.connection.wakeup).sleep(wait.ms);
      }
    }
  }

  /** How long, and why; null where waiting won't help. @param {any} error @param {number} retries */
  #wait(error, retries) {
    if (error instanceof NetworkError) {
      this.app.connection.check();
      return { state: /** @type {State} */ ("offline"), ms: backoffMs(retries, 500, 15_000) };
    }
    if (error instanceof ApiError && error.status === 401) return { state: /** @type {State} */ ("locked"), ms: 600_000 };
    if (!(error instanceof ApiError) || error.retryAfter === null) return null;
    const ms = Math.max(1, error.retryAfter) * 1000;
    if (error.status === 503) return { state: /** @type {State} */ ("loading"), ms: Math.min(ms, RETRY_MS) };
    return error.status === 429 && retries === 0 ? { state: /** @type {State} */ ("busy"), ms } : null;
  }

  /** @param {import("./chat.js").Request} request @param {any} error */
  #refuse(request, error) {
    const setting = /^settings\.(\w+)/.exec(error.param ?? "")?.[1];
    if (setting) this.app.sampling.refused.set({ name: setting, message: error.message });
    if (error.code === "conversation_busy") void this.chat.load();
    this.#put({ request, content: request.body.content ?? "", state: "refused", problem: error, retryAt: 0 });
  }

  /** @param {Item | null} item */
  #put(item) {
    this.item.set(item);
    this.app.storage.set(this.#name(), item?.request ?? null);
  }

  /** The conversation has its id now. @param {import("./chat.js").Request} request */
  #move(request) {
    this.app.storage.set("outbox:new", null);
    this.app.storage.set(this.#name(), request);
  }

  #name() {
    return `outbox:${this.chat.id.peek() ?? "new"}`;
  }
}
