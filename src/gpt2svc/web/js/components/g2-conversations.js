// @ts-check
import { define, h, list } from "../kernel/dom.js";
import { computed, signal } from "../kernel/signal.js";
import { hint, icon, iconButton, linkButton } from "./icons.js";
import { preferences } from "./preferences.js";

define("g2-conversations", ({ app, media }) => {
  const { conversations, chat, language, view, notices, text } = app;
  const renaming = signal(/** @type {string | null} */ (null));
  const titleOf = (/** @type {any} */ each) => each.title ?? text("untitled");
  /** Days and, below each, its conversations: one flat list, so that a row is kept whatever changes around it. */
  const entries = computed(() => {
    /** @type {{day: string, id: string | null}[]} */ const all = [];
    for (const { id, updated_at } of conversations.shown()) {
      const day = language.day(updated_at);
      if (all.at(-1)?.day !== day) all.push({ day, id: null });
      all.push({ day, id });
    }
    return all;
  });
  const byId = computed(() => new Map(conversations.shown().map((/** @type {any} */ each) => [each.id, each])));

  const rows = h("div", { class: "rows" });
  list(entries, ({ day, id }) => id ?? day, ({ day, id }) => (id === null ? h("h2", { class: "day" }, day) : row(id)))(rows);

  return [
    h(
      "div",
      { class: "list-head" },
      h("div", { class: "brand" }, h("span", { class: "mark", "aria-hidden": "true" }), h("span", { class: "brand-name" }, "gpt2svc")),
      iconButton("close", () => text("close"), () => view.isListOpen.set(false), { class: "icon-button only-drawer" }),
    ),
    h("button", { class: "new-chat", onclick: () => go(null) }, icon("plus"), () => text("list.new")),
    h(
      "label",
      { class: "search" },
      icon("search"),
      h("span", { class: "visually-hidden" }, () => text("list.search")),
      h("input", {
        type: "search",
        id: "search",
        placeholder: () => text("list.search"),
        ".value": () => conversations.search(),
        oninput: (/** @type {any} */ event) => conversations.setSearch(event.target.value),
        onkeydown: onSearchKey,
      }),
    ),
    h(
      "div",
      { class: "groups", onkeydown: onKey },
      note,
      rows,
      () =>
        conversations.nextCursor() &&
        h("button", { class: "link more", onclick: () => conversations.load(true) }, () => text("list.more")),
    ),
    h("div", { class: "prefs in-list" }, preferences(app)),
    () => {
      const can = app.connection.capabilities();
      return h("div", { class: "list-tools" }, can?.inspect && linkButton(app, "inspector.free", look, "bars"), can?.transfer && linkButton(app, "transfer.title", () => view.dialog.set("transfer"), "download"));
    },
    h("footer", { class: "list-foot" }, h("a", { href: "docs", target: "_blank", rel: "noopener" }, () => text("list.docs")), () => {
      const version = app.connection.health()?.versions.gpt2svc;
      return version ? h("span", { class: "muted" }, `v${version}`) : null;
    }),
  ];

  function note() {
    if (conversations.shown().length > 0) return null;
    const state = conversations.state();
    if (state === "loading") return hint(app, "loading", "note");
    if (state === "failed") return hint(app, "list.failed", "note");
    return hint(app, conversations.search() === "" ? "list.empty" : "list.nothing", "note");
  }

  /** @param {string} id */
  function row(id) {
    const conversation = () => byId().get(id) ?? { title: "" };
    return h(
      "div",
      { class: () => `row ${chat.id() === id ? "is-current" : ""}`, "data-id": id },
      () => (renaming() === id ? renameField(id) : h("button", { class: "row-title", title: () => titleOf(conversation()), "aria-current": () => (chat.id() === id ? "true" : null), onclick: () => go(id) }, () => titleOf(conversation()))),
      h(
        "span",
        { class: "row-actions" },
        iconButton("edit", () => `${text("rename")}: ${titleOf(conversation())}`, () => renaming.set(id)),
        iconButton("trash", () => `${text("delete")}: ${titleOf(conversation())}`, () => remove(id)),
      ),
    );
  }

  /** @param {string} id */
  function renameField(id) {
    let isOver = false;
    const end = (/** @type {boolean} */ isKept) => {
      if (isOver) return;
      isOver = true;
      const title = field.value.trim();
      renaming.set(null);
      focusRow(id);
      if (isKept && title !== "" && title !== byId.peek().get(id)?.title) {
        conversations.rename(id, title).then(
          (/** @type {any} */ changed) => chat.id.peek() === id && chat.conversation.set({ ...changed }),
          (/** @type {any} */ error) => notices.problem(error),
        );
      }
    };
    const field = h("input", {
      class: "rename",
      "aria-label": () => text("rename"),
      maxlength: 200,
      ".value": byId.peek().get(id)?.title ?? "",
      onblur: () => end(true),
      onkeydown: (/** @type {KeyboardEvent} */ event) => {
        event.stopPropagation();
        if (event.isComposing) return;
        if (event.key !== "Enter" && event.key !== "Escape") return;
        event.preventDefault(); // else the row, which has the focus by then, would be pressed
        end(event.key === "Enter");
      },
    });
    queueMicrotask(() => field.select());
    return field;
  }

  /** What comes after any text? */
  function look() {
    view.isListOpen.set(false);
    void app.inspector.open(null);
  }

  /** @param {string | null} id */
  function go(id) {
    view.isListOpen.set(false);
    if (id !== chat.id.peek() || chat.state.peek() !== "ready") void chat.open(id);
    if (!media.isTouch.peek()) requestAnimationFrame(() => document.getElementById("say")?.focus());
  }

  /** @param {string} id */
  function remove(id) {
    const title = titleOf(byId.peek().get(id));
    const isShown = chat.id.peek() === id;
    const ids = conversations.shown.peek().map((/** @type {any} */ each) => each.id);
    const next = ids[ids.indexOf(id) + 1] ?? ids[ids.indexOf(id) - 1];
    const undo = conversations.remove(id);
    if (isShown) void chat.open(null);
    if (next) focusRow(next);
    notices.tell("notice.deleted", { title }, () => {
      undo();
      if (isShown) void chat.open(id);
    });
  }

  /** @param {string} id */
  function focusRow(id) {
    queueMicrotask(() => /** @type {HTMLElement | null} */ (document.querySelector(`[data-id="${CSS.escape(id)}"] .row-title`))?.focus());
  }

  /** @param {KeyboardEvent} event */
  function onKey(event) {
    const focused = /** @type {HTMLElement} */ (event.target);
    const id = focused.closest("[data-id]")?.getAttribute("data-id");
    if (!id || !focused.matches(".row-title")) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step !== undefined) {
      const all = /** @type {HTMLElement[]} */ ([...document.querySelectorAll(".row-title")]);
      all[all.indexOf(focused) + step]?.focus();
    } else if (event.key === "Delete") remove(id);
    else if (event.key === "F2") renaming.set(id);
    else return;
    event.preventDefault();
  }

  /** @param {KeyboardEvent} event */
  function onSearchKey(event) {
    if (event.key === "Escape" && conversations.search.peek() !== "") {
      event.stopPropagation();
      conversations.setSearch("");
    } else if (event.key === "ArrowDown") {
      event.preventDefault();
      /** @type {HTMLElement | null} */ (document.querySelector(".row-title"))?.focus();
    }
  }
});
