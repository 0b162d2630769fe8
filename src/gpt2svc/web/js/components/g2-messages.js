// @ts-check
import { append, define, h, list } from "../kernel/dom.js";
import { computed, effect, onDispose } from "../kernel/signal.js";
import { StickToBottom } from "../lib/scroll.js";
import { hint, icon } from "./icons.js";
import { outboxItem } from "./outbox-item.js";

const STARTERS = ["starter.1", "starter.2", "starter.3", "starter.4"];

define("g2-messages", (element) => {
  const { app } = element;
  const { chat, language, connection, text } = app;
  const shown = computed(() => new Map(chat.path().map((/** @type {any} */ each) => [each.message.id, each])));
  const isEmpty = computed(() => chat.path().length === 0 && chat.outbox.item() === null && chat.state() === "ready");
  const editing = app.view.editing;

  const log = h("div", { class: "log", role: "log", "aria-live": "off", "aria-label": () => text("messages.label") });
  const messages = h("div", { class: "turns" });
  list(
    () => chat.path(),
    (each) => each.message.id,
    ({ message }) => h("g2-message", { ".app": app, ".messageId": message.id, ".author": message.role, ".shown": shown, class: `message ${message.role}` }),
  )(messages);
  append(log, [
    () => (chat.state() === "loading" ? hint(app, "loading", "note") : null),
    () => (chat.state() === "missing" ? problem("messages.missing") : null),
    () => (chat.state() === "failed" && chat.path().length === 0 ? problem("messages.failed") : null),
    () => (isEmpty() ? welcome() : null),
    messages,
    () => outboxItem(app),
  ]);
  const stick = new StickToBottom(element, log, () => !isEmpty.peek());
  element.tabIndex = 0;
  // What somebody has just sent, or opened, is looked at from its end.
  effect(() => {
    chat.id();
    if (chat.outbox.item()?.state === "sending" || chat.state() === "ready") stick.toEnd();
  });
  effect(() => void (chat.reply() && editing.set(null)));
  onDispose(() => stick.stop());
  return [
    log,
    () =>
      stick.isPinned()
        ? null
        : h("button", { class: "to-end", onclick: () => stick.toEnd() }, icon("down"), () => text(chat.reply() ? "messages.newText" : "messages.toEnd")),
  ];

  /** @param {string} key */
  function problem(key) {
    return h("div", { class: "welcome" }, h("p", null, () => text(key)), h("button", { class: "button", onclick: () => (chat.state.peek() === "missing" ? chat.open(null) : chat.load()) }, () => text(chat.state() === "missing" ? "list.new" : "retry")));
  }

  function welcome() {
    const model = () => chat.model();
    return h(
      "div",
      { class: "welcome" },
      h("span", { class: "mark mark-large", "aria-hidden": "true" }),
      h("h2", null, () => text("welcome.title")),
      h("p", { class: "lead" }, () => {
        const number = model()?.num_parameters;
        const size = number ? language.compact().format(number) : null;
        return size ? text("welcome.lead", { size }) : text("welcome.leadPlain");
      }),
      hint(app, "welcome.honest"),
      h(
        "div",
        { class: "starters" },
        STARTERS.map((key) => h("button", { class: "starter", disabled: () => connection.state() === "new", onclick: () => chat.outbox.send(text(key)) }, () => text(key))),
      ),
    );
  }
});
