// @ts-check
import { define, h } from "../kernel/dom.js";
import { computed, effect, signal, untracked } from "../kernel/signal.js";
import { icon } from "./icons.js";

const MAX_LENGTH = 100_000;
const BYTES_PER_TOKEN = 3.5;

define("g2-composer", ({ app, media }) => {
  const { chat, language, sampling, storage, view, text } = app;
  const draft = signal("");
  const name = () => `draft:${chat.id.peek() ?? "new"}`;
  const canSend = () => draft().trim() !== "" && chat.reply() === null && chat.outbox.item() === null;

  const area = h("textarea", {
    id: "say",
    rows: 1,
    maxlength: MAX_LENGTH,
    placeholder: () => text("say.placeholder"),
    "aria-label": () => text("say.label"),
    ".value": () => draft(),
    oninput: () => keep(area.value),
    onkeydown: onKey,
    enterkeyhint: () => (media.isTouch() ? "enter" : "send"),
  });

  // Each conversation has its own draft; the new one's moves along when it is saved.
  let known = /** @type {string | null} */ (null);
  effect(() => {
    const id = chat.id();
    untracked(() => {
      if (known === null && id !== null && draft.peek() !== "" && chat.conversation.peek()?.id === id) keep(draft.peek());
      known = id;
      draft.set(storage.get(name()) ?? "");
    });
  });
  effect(() => {
    const returned = chat.outbox.returned();
    if (returned === null) return;
    untracked(() => keep([returned.text, draft.peek()].filter(Boolean).join("\n")));
    area.focus();
  });
  effect(() => {
    draft();
    if (!CSS.supports("field-sizing", "content")) {
      area.style.height = "auto";
      area.style.height = `${area.scrollHeight}px`;
    }
  });

  return h(
    "form",
    { class: "composer", onsubmit: (/** @type {Event} */ event) => (event.preventDefault(), void send()) },
    h(
      "div",
      { class: "say" },
      area,
      () =>
        chat.reply()
          ? h("button", { class: "round stop", "aria-label": () => text("stop"), title: () => text("stop.hint"), disabled: () => chat.reply()?.isStopping() ?? false, onclick: stop }, icon("stop"))
          : h("button", { type: "submit", class: "round", "aria-label": () => text("send"), title: () => text("send"), disabled: () => !canSend() }, icon("send")),
    ),
    h(
      "div",
      { class: "under" },
      h("button", { class: "chip only-sheet", onclick: () => view.isSamplingOpen.set(true), "aria-label": () => `${text("sampling.label")}: ${summary()}` }, icon("sliders"), () => summary()),
      gauge(),
      h("span", { class: "muted small hint only-wide" }, () => text("say.hint")),
    ),
  );

  function summary() {
    const { temperature, top_k, top_p } = sampling.values();
    if (temperature === undefined) return "…";
    return `T ${language.number(temperature)} · k ${language.number(top_k)} · p ${language.number(top_p)}`;
  }

  /** How much of the model's window the next prompt and its reply would take. */
  function gauge() {
    const used = computed(() => {
      const last = chat.path().findLast((/** @type {any} */ each) => each.message.usage);
      const typed = Math.ceil(new TextEncoder().encode(draft()).length / BYTES_PER_TOKEN);
      return (last?.message.usage.total_tokens ?? 0) + typed;
    });
    const window_ = () => chat.model()?.n_positions ?? 0;
    const reply = () => sampling.values().max_new_tokens ?? 0;
    const share = () => (window_() ? Math.min(100, (100 * (used() + reply())) / window_()) : 0);
    const label = () => text("gauge", { count: used() + reply(), all: window_(), reply: reply() });
    return () =>
      window_() === 0
        ? null
        : h(
            "span",
            { class: "gauge", title: label },
            h("meter", { min: 0, max: 100, high: 90, ".value": () => share(), "aria-label": label }),
            h("span", { class: "muted small" }, () => text("gauge.short", { used: used() + reply(), all: window_() })),
            () => (chat.dropped().size > 0 ? h("span", { class: "small dropped" }, () => text("gauge.dropped", { count: chat.dropped().size })) : null),
          );
  }

  /** @param {string} value */
  function keep(value) {
    draft.set(value);
    storage.set(name(), value === "" ? null : value);
  }

  async function send() {
    if (chat.state.peek() === "loading") await chat.loading; // where it goes is known only then
    const content = draft.peek();
    if (content.trim() === "" || chat.reply.peek() !== null || chat.outbox.item.peek() !== null) return;
    // From here on the outbox keeps it.
    void chat.outbox.send(content);
    keep("");
    storage.set("draft:new", null);
    app.announcer.say("status.writing");
    if (!media.isTouch.peek()) area.focus();
  }

  function stop() {
    void chat.stop();
    area.focus();
  }

  /** @param {KeyboardEvent} event */
  function onKey(event) {
    // 229: Safari ends a composition before it tells of the key that did.
    if (event.isComposing || event.keyCode === 229) return;
    if (event.key === "Enter" && !event.shiftKey && !event.altKey && !event.ctrlKey && !event.metaKey && !media.isTouch.peek()) {
      event.preventDefault();
      void send();
    } else if (event.key === "ArrowUp" && area.value === "" && chat.reply.peek() === null) {
      const last = chat.path.peek().findLast((/** @type {any} */ each) => each.message.role === "user")?.message;
      if (!last || (last.parent_id === null && !app.connection.capabilities.peek()?.regenerate)) return;
      event.preventDefault();
      view.editing.set(last.id);
    }
  }
});
