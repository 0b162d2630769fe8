// @ts-check
import { h } from "../kernel/dom.js";
import { hint } from "./icons.js";
import { SHORTCUTS } from "../shortcuts.js";
import { dialog } from "./dialog.js";

/** @param {any} app */
export function shortcutsDialog(app) {
  const { text } = app;
  return dialog(app, "keys", "keys.title", () => [
    h(
      "dl",
      { class: "keys" },
      SHORTCUTS.map(({ keys, text: key }) => h("div", null, h("dt", null, keys.map((name) => h("kbd", null, () => (name.startsWith("key.") ? text(name) : name)))), h("dd", null, () => text(key)))),
    ),
  ]);
}

/** @param {any} app */
export function keyDialog(app) {
  const { connection, view } = app;
  const { text } = app;
  return dialog(app, "key", "key.title", () => {
    const field = h("input", { type: "password", class: "field", id: "api-key", autocomplete: "current-password", required: true, spellcheck: "false" });
    return h(
      "form",
      { class: "form", onsubmit: save },
      h("p", null, () => text("key.explain")),
      connection.key !== null && h("p", { class: "problem", role: "alert" }, () => text("key.refused")),
      h("label", { for: "api-key" }, () => text("key.label")),
      field,
      hint(app, "key.kept"),
      h("div", { class: "editor-actions" }, h("button", { type: "submit", class: "button primary" }, () => text("key.use"))),
    );

    /** @param {Event} event */
    function save(event) {
      event.preventDefault();
      const key = field.value.trim();
      if (key === "") return;
      view.dialog.set(null);
      connection.setKey(key);
    }
  });
}
