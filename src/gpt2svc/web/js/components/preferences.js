// @ts-check
import { h } from "../kernel/dom.js";
import { LANGUAGES } from "../i18n/language.js";
import { icon } from "./icons.js";

/** @type {Record<string, string>} */
const ICONS = { light: "sun", dark: "moon", system: "system" };

/** Language and theme: in the bar on top, and on phones below the list. @param {any} app */
export function preferences({ language, view, text }) {
  const theme = () => text(`theme.${view.theme()}`);
  return [
    h(
      "div",
      { class: "languages", role: "group", "aria-label": () => text("language") },
      [...LANGUAGES].reverse().map((code) =>
        h("button", { lang: code, "aria-pressed": () => String(language.code() === code), onclick: () => language.use(code) }, code.toUpperCase()),
      ),
    ),
    h("button", { class: "icon-button theme", "aria-label": theme, title: theme, onclick: () => view.nextTheme() }, () => icon(ICONS[view.theme()])),
  ];
}
