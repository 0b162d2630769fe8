// @ts-check
import { define, h } from "../kernel/dom.js";
import { iconButton } from "./icons.js";
import { modelPicker } from "./model-picker.js";
import { preferences } from "./preferences.js";

define("g2-topbar", ({ app }) => {
  const { view, chat, text } = app;
  return [
    iconButton("menu", () => text("list.open"), () => view.isListOpen.set(true), { class: "icon-button only-narrow" }),
    h("h1", { class: "title" }, () => chat.conversation()?.title ?? text("list.new")),
    modelPicker(app),
    h("div", { class: "prefs in-bar" }, preferences(app)),
    iconButton("help", () => text("keys.title"), () => view.dialog.set("keys"), { class: "icon-button only-wide" }),
    iconButton("sliders", () => text("sampling.label"), () => view.isSamplingOpen.set(true), { class: "icon-button only-sheet", id: "open-sampling" }),
  ];
});
