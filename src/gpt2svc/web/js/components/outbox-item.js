// @ts-check
import { h } from "../kernel/dom.js";
import { effect, onDispose, signal } from "../kernel/signal.js";
import { icon, linkButton } from "./icons.js";

/** What has been asked for and not been accepted yet: what happened, that it is safe, and what can be done. @param {any} app */
export function outboxItem(app) {
  const { chat, language, text } = app;
  const { outbox } = chat;
  const item = outbox.item();
  if (item === null) return null;
  const seconds = signal(left());
  effect(() => {
    const timer = setInterval(() => seconds.set(left()), 500);
    onDispose(() => clearInterval(timer));
  });
  const isWaiting = ["busy", "offline", "loading", "locked"].includes(item.state);
  return h(
    "div",
    { class: "pending" },
    item.content && h("article", { class: "message user is-pending", "aria-label": () => text("message.yours") }, h("div", { class: "text" }, item.content)),
    h(
      "div",
      { class: `pending-state ${item.state === "sending" ? "" : "is-problem"}`, role: item.state === "refused" ? "alert" : null },
      item.state === "sending" ? h("span", { class: "dots", "aria-hidden": "true" }, h("i"), h("i"), h("i")) : icon("warning"),
      h("span", null, explain),
      item.state !== "sending" && !isWaiting && linkButton(app, item.state === "kept" ? "send" : "retry", () => outbox.retry()),
      isWaiting && item.state !== "locked" && linkButton(app, "retry", () => outbox.hurry()),
      item.state !== "sending" && linkButton(app, item.content ? "outbox.back" : "cancel", () => outbox.withdraw()),
    ),
  );

  function left() {
    return Math.max(0, Math.ceil((item.retryAt - Date.now()) / 1000));
  }

  function explain() {
    if (item.state === "refused") return language.problem(item.problem);
    return text(`outbox.${item.state}`, { seconds: seconds() });
  }
}
