// @ts-check
import { define, h } from "../kernel/dom.js";
import { computed, signal } from "../kernel/signal.js";
import { copyText } from "../lib/clipboard.js";
import { isOnItsWay } from "../store/connection.js";
import { icon, iconButton, linkButton } from "./icons.js";
import { editor } from "./editor.js";
import { replyText } from "./reply-text.js";
import { toolbar } from "./toolbar.js";

const ENDED_EARLY = ["interrupted", "failed", "cancelled"];

define("g2-message", ({ app, messageId, shown, author }) => {
  const { chat, language, view, notices, connection, text } = app;
  const isUser = author === "user";
  /** @type {() => any} */ const message = computed(() => shown().get(messageId)?.message ?? null);
  const siblings = computed(() => shown().get(messageId)?.siblings ?? []);
  /** @type {() => any} */ const reply = computed(() => (chat.reply()?.messageId === messageId ? chat.reply() : null));
  const isLast = computed(() => chat.path().at(-1)?.message.id === messageId);
  const can = computed(() => connection.capabilities() ?? {});
  const isFree = () => chat.reply() === null && chat.outbox.item() === null;
  const isEditing = computed(() => view.editing() === messageId);
  const isCopied = signal(false);

  return h(
    "article",
    { class: () => `${reply() ? "is-live" : ""} ${chat.dropped().has(messageId) ? "is-dropped" : ""}`, "aria-label": () => text(isUser ? "message.yours" : "message.models") },
    () => (isEditing() ? editor(app, message(), () => view.editing.set(null)) : null),
    h("div", { class: "bubble", hidden: () => isEditing() }, replyText(message, reply), progress),
    () => (isEditing() || reply() ? null : ending()),
    () => (isEditing() || reply() ? null : foot()),
  );

  /** While it is being written. */
  function progress() {
    const live = reply();
    if (live === null) return null;
    return h("div", { class: "progress" }, () => {
      const phase = live.phase();
      if (phase === "writing") return h("span", { class: "muted small" }, () => (live.rate() ? text("rate", { rate: language.number(live.rate(), 1) }) : ""));
      return [h("span", { class: "dots", "aria-hidden": "true" }, h("i"), h("i"), h("i")), h("span", { class: "muted small" }, () => phaseText(phase, live))];
    });
  }

  /** @param {string} phase @param {any} live */
  function phaseText(phase, live) {
    if (phase === "queued") return text(live.position() ? "phase.queued" : "phase.next", { count: live.position() });
    const model = chat.model();
    if (phase === "waiting" && model && isOnItsWay(model)) return text("banner.loading", { stage: model.stage || text(`model.state.${model.status}`) });
    return text(`phase.${phase}`);
  }

  /** How a reply ended, where that asks for something to be done. */
  function ending() {
    const each = message();
    if (each === null || isUser) return null;
    const isCut = each.finish_reason === "length" && isLast();
    if (!ENDED_EARLY.includes(each.status) && !isCut) return null;
    const isBad = each.status === "interrupted" || each.status === "failed";
    const key = isCut && each.status === "completed" ? "length" : each.status;
    return h(
      "p",
      { class: `ending ${isBad ? "is-problem" : ""}` },
      isBad && icon("warning"),
      h("span", null, () => text(`ending.${key}`), isBad && each.error ? h("span", { class: "muted small" }, ` ${each.error}`) : null),
      () => (isLast() && isFree() && can().resume && each.content !== "" ? linkButton(app, "continue", () => chat.outbox.again(each, "continue")) : null),
      () => (isLast() && isFree() && isBad ? (can().regenerate ? linkButton(app, "regenerate", () => chat.outbox.again(each, "regenerate")) : null) : null),
    );
  }

  function foot() {
    const each = message();
    if (each === null) return null;
    const rate = chat.rates.get(messageId);
    return h(
      "div",
      { class: "foot" },
      () => switcher(),
      toolbar(
        "actions",
        () => text("message.actions"),
        () => iconButton(isCopied() ? "check" : "copy", () => text(isCopied() ? "copied" : "copy"), copy),
        () => (isFree() && (isUser ? canAskAgain(each) : can().edit) ? iconButton("edit", () => text("edit"), () => view.editing.set(messageId)) : null),
        () => (!isUser && isFree() && can().regenerate ? iconButton("again", () => text("regenerate"), () => chat.outbox.again(each, "regenerate")) : null),
        () => (!isUser && isFree() && can().resume && isLast() && each.content !== "" ? iconButton("forward", () => text("continue"), () => chat.outbox.again(each, "continue")) : null),
        () => (!isUser && can().inspect && each.content !== "" ? iconButton("bars", () => text("inspector.title"), () => app.inspector.open(each)) : null),
        () => (!isUser && each.generation_id ? iconButton("info", () => text("details.title"), () => view.showDetails(each)) : null),
      ),
      isUser ? null : h("span", { class: "muted small" }, () => facts(each, rate)),
    );
  }

  /** @param {any} each @param {number | undefined} rate */
  function facts(each, rate) {
    const all = [
      each.usage && text("tokens", { count: each.usage.completion_tokens }),
      rate && text("rate", { rate: language.number(rate, 1) }),
      each.finish_reason === "length" && text("finish.length"),
    ];
    return all.filter(Boolean).join(" · ");
  }

  /** A first message can be put otherwise only where the service lets a conversation begin twice. @param {any} each */
  function canAskAgain(each) {
    return each.parent_id !== null || can().regenerate;
  }

  function switcher() {
    const ids = siblings();
    if (ids.length < 2) return null;
    const index = ids.indexOf(messageId);
    const go = (/** @type {number} */ step) => {
      chat.choose(message(), ids[index + step]);
      queueMicrotask(() => {
        const buttons = document.querySelectorAll(`[data-parent="${CSS.escape(message()?.parent_id ?? "")}"] button:not([disabled])`);
        /** @type {HTMLElement | undefined} */ (buttons[step > 0 ? buttons.length - 1 : 0])?.focus();
      });
    };
    return h(
      "div",
      { class: "switcher", role: "group", "aria-label": () => text("branches"), "data-parent": message()?.parent_id ?? "" },
      iconButton("left", () => text("branch.previous"), () => go(-1), { disabled: index === 0 || !isFree() }),
      h("span", { class: "small" }, () => `${language.number(index + 1)}/${language.number(ids.length)}`),
      iconButton("right", () => text("branch.next"), () => go(1), { disabled: index === ids.length - 1 || !isFree() }),
    );
  }

  async function copy() {
    if (!(await copyText(message().content))) return notices.tell("notice.notCopied");
    isCopied.set(true);
    app.announcer.say("copied");
    setTimeout(() => isCopied.set(false), 1500);
  }
});
