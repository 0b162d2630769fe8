// @ts-check
import { define, h } from "../kernel/dom.js";
import { computed } from "../kernel/signal.js";
import { icon, iconButton } from "./icons.js";
import { keyDialog, shortcutsDialog } from "./dialogs.js";
import { detailsDialog } from "./details.js";
import { transferDialog } from "./transfer.js";

define("g2-app", ({ app, media }) => {
  const { view, language, notices, announcer, text } = app;
  const isDrawerOpen = () => (view.isListOpen() && media.isListDrawer()) || (view.isSamplingOpen() && media.isSamplingDrawer());
  const isInspecting = computed(() => app.inspector.isOpen());
  const closeDrawers = () => {
    view.isListOpen.set(false);
    view.isSamplingOpen.set(false);
  };

  return [
    h("a", { class: "skip", href: "#say", onclick: skip }, () => text("skip")),
    h(
      "nav",
      { class: () => `list ${view.isListOpen() ? "is-open" : ""}`, "aria-label": () => text("list.label"), inert: () => media.isListDrawer() && !view.isListOpen() },
      h("g2-conversations", { ".app": app, ".media": media }),
    ),
    h(
      "main",
      { class: "chat", inert: isDrawerOpen },
      h("g2-topbar", { ".app": app, ".media": media }),
      h("g2-banner", { ".app": app }),
      h("g2-messages", { ".app": app, hidden: isInspecting }),
      h("g2-composer", { ".app": app, ".media": media, hidden: isInspecting }),
      () => (isInspecting() ? h("g2-inspector", { ".app": app }) : null),
    ),
    h(
      "aside",
      { class: () => `sampling ${view.isSamplingOpen() ? "is-open" : ""}`, "aria-label": () => text("sampling.label"), inert: () => media.isSamplingDrawer() && !view.isSamplingOpen() },
      h("g2-sampling", { ".app": app, ".media": media }),
    ),
    h("div", { class: () => `scrim ${isDrawerOpen() ? "is-open" : ""}`, onclick: closeDrawers }),
    h(
      "div",
      { class: "notices" },
      () => notices.shown().map(noticeOf),
    ),
    h("div", { class: "visually-hidden", role: "status" }, () => {
      const message = announcer.message();
      return message === null ? "" : text(message.key, message.values);
    }),
    shortcutsDialog(app),
    keyDialog(app),
    detailsDialog(app),
    transferDialog(app),
  ];

  /** @param {any} notice */
  function noticeOf(notice) {
    return h(
      "div",
      { class: "notice", role: notice.problem ? "alert" : null },
      h("span", null, () => (notice.problem ? language.problem(notice.problem) : text(notice.key, notice.values))),
      notice.undo &&
        h("button", { class: "link", onclick: () => (notice.undo(), notices.close(notice.id)) }, icon("undo"), () => text("undo")),
      iconButton("close", () => text("close"), () => notices.close(notice.id)),
    );
  }

  /** @param {Event} event */
  function skip(event) {
    event.preventDefault();
    document.getElementById("say")?.focus();
  }
});
