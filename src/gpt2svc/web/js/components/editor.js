// @ts-check
import { h } from "../kernel/dom.js";
import { hint } from "./icons.js";

/**
 * A message in the making once more. A question is asked anew, a reply is kept as edited; the old one stays beside it.
 * @param {any} app @param {any} message @param {() => void} close
 */
export function editor(app, message, close) {
  const { chat, notices, text } = app;
  const isUser = message.role === "user";
  const area = h("textarea", { class: "field", rows: 3, maxlength: 100000, "aria-label": () => text("edit"), ".value": message.content, onkeydown: onKey });
  queueMicrotask(() => {
    area.focus();
    area.setSelectionRange(area.value.length, area.value.length);
  });
  return h(
    "form",
    { class: "editor", onsubmit: (/** @type {Event} */ event) => (event.preventDefault(), void save()) },
    area,
    hint(app, isUser ? "edit.hintUser" : "edit.hintReply"),
    h(
      "div",
      { class: "editor-actions" },
      h("button", { class: "button", onclick: close }, () => text("cancel")),
      h("button", { type: "submit", class: "button primary" }, () => text(isUser ? "send" : "save")),
    ),
  );

  async function save() {
    const content = area.value;
    if (content.trim() === "") return;
    if (content === message.content && !isUser) return close();
    try {
      if (isUser) void chat.outbox.send(content, message.parent_id);
      else await chat.editReply(message, content);
      close();
    } catch (error) {
      notices.problem(error); // and the text stays in its field
    }
  }

  /** @param {KeyboardEvent} event */
  function onKey(event) {
    if (event.isComposing) return;
    if (event.key === "Escape") {
      event.stopPropagation();
      close();
    } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      void save();
    }
  }
}
