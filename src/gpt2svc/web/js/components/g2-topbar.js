// @ts-check
import { define, h } from "../kernel/dom.js";
import { LANGUAGES } from "../i18n/language.js";
import { iconButton } from "./icons.js";
import { modelPicker } from "./model-picker.js";

define("g2-topbar", ({ app }) => {
  const { view, language, chat } = app;
  const text = (/** @type {string} */ key, /** @type {any} */ values) => language.text(key, values);
  return [
    iconButton("menu", () => text("list.open"), () => view.isListOpen.set(true), { class: "icon-button only-narrow" }),
    h("h1", { class: "title" }, () => chat.conversation()?.title ?? text("list.new")),
    modelPicker(app),
    h(
      "div",
      { class: "languages", role: "group", "aria-label": () => text("language") },
      [...LANGUAGES].reverse().map((code) =>
        h("button", { type: "button", lang: code, "aria-pressed": () => String(language.code() === code), onclick: () => language.use(code) }, code.toUpperCase()),
      ),
    ),
    () => iconButton({ light: "sun", dark: "moon", system: "system" }[/** @type {"light"} */ (view.theme())], () => text(`theme.${view.theme()}`), () => view.nextTheme(), { id: "theme" }),
    iconButton("help", () => text("keys.title"), () => view.dialog.set("keys"), { class: "icon-button only-wide" }),
    iconButton("sliders", () => text("sampling.label"), () => view.isSamplingOpen.set(true), { class: "icon-button only-sheet", id: "open-sampling" }),
  ];
});
