// @ts-check
import { define, h } from "../kernel/dom.js";
import { effect, onDispose, signal } from "../kernel/signal.js";
import { entropyOf } from "../lib/sampling.js";
import { hint, iconButton, linkButton } from "./icons.js";
import { tokenText, visible } from "./token-text.js";

const NUM_ROWS = 10;

/** The tokens of a reply, and at each of them what else could have come: bars that follow the sliders. */
define("g2-inspector", ({ app }) => {
  const { inspector, language, chat, view, text } = app;
  const message = inspector.message.peek();
  const selected = signal(0);
  const opener = /** @type {HTMLElement | null} */ (document.activeElement);
  onDispose(() => requestAnimationFrame(() => (opener?.isConnected ? opener : document.getElementById("say"))?.focus()));
  return h(
    "div",
    { class: "log" },
    h("header", { class: "inspector-head" }, iconButton("left", () => text("inspector.back"), () => inspector.close(), { id: "leave-inspector" }), h("h2", null, () => text(message ? "inspector.title" : "inspector.free")), iconButton("sliders", () => text("sampling.label"), () => view.isSamplingOpen.set(true), { class: "icon-button only-sheet" })),
    hint(app, message ? "inspector.about" : "inspector.own.about"),
    message ? null : own(),
    () => {
      if (inspector.tokens() !== null) return message ? [prompt(), reply(), place()] : place();
      if (inspector.problem()) return problem();
      return message && hint(app, "loading", "note");
    },
  );

  /** A text of one's own. */
  function own() {
    const area = h("textarea", { class: "field", rows: 3, maxlength: 10000, "aria-label": () => text("inspector.own"), placeholder: () => text("inspector.own"), ".value": () => inspector.typed(), oninput: () => inspector.write(area.value) });
    queueMicrotask(() => area.focus());
    return area;
  }

  function problem() {
    return h("p", { class: "problem note", role: "alert" }, () => language.problem(inspector.problem()), " ", linkButton(app, "retry", retry));
  }

  function retry() {
    if (inspector.tokens.peek() === null || !message) void inspector.open(message);
    else inspector.look(selected.peek());
  }

  /** As it was sent. */
  function prompt() {
    const { prompt_token_ids, reply_token_ids, n_positions, dropped_message_ids, is_exact } = inspector.tokens();
    const count = prompt_token_ids.length;
    return [
      h(
        "details",
        { class: "more prompt" },
        h("summary", null, () => text("inspector.prompt", { count })),
        h("p", { class: "tokens text", id: "prompt" }, prompt_token_ids.map((/** @type {number} */ id) => h("span", { class: "token" }, inspector.text(id)))),
        h("p", { class: "muted small" }, () => text("inspector.window", { count: count + reply_token_ids.length, all: n_positions }), dropped_message_ids.length > 0 ? () => `; ${text("gauge.dropped", { count: dropped_message_ids.length })}` : null),
      ),
      is_exact ? null : hint(app, "inspector.inexact"),
    ];
  }

  function reply() {
    const texts = inspector.tokens().reply_token_ids.map((/** @type {number} */ id) => inspector.text(id));
    const list = tokenText(texts, () => text("inspector.tokens"), () => text("inspector.end"), selected, choose, (index) => inspector.look(index));
    queueMicrotask(() => list.querySelector(".token")?.focus());
    choose(0);
    effect(() => {
      const place = inspector.place();
      for (const [index, each] of [...list.children].entries()) each.classList.toggle("is-looked-at", index === place);
    });
    return list;
  }

  /** @param {number} index */
  function choose(index) {
    selected.set(index);
    inspector.look(index);
  }

  function place() {
    return h("section", { class: "place", "aria-labelledby": "place" }, h("h3", { id: "place" }, () => text("inspector.place", { count: inspector.place() + 1 + (message ? 0 : inspector.tokens().prompt_token_ids.length) })), () => {
      if (inspector.problem()) return problem();
      const distribution = inspector.distribution();
      return distribution ? [summary(distribution), bars(distribution)] : hint(app, "loading", "note");
    });
  }

  /** @param {import("../lib/sampling.js").Distribution} distribution */
  function summary({ raw, drawn, numKept }) {
    const bits = (/** @type {Float64Array} */ each) => language.number(entropyOf(each), 2);
    return h("p", { class: "muted small" }, () => text("inspector.summary", { raw: bits(raw), drawn: bits(drawn), count: numKept, all: raw.length }));
  }

  /** @param {import("../lib/sampling.js").Distribution} distribution */
  function bars({ ids, raw, scored, drawn }) {
    const chosen = inspector.chosen.peek();
    const ranks = [...ids.subarray(0, NUM_ROWS).keys()];
    if (chosen !== null && !ids.subarray(0, NUM_ROWS).includes(chosen)) ranks.push(ids.indexOf(chosen));
    const most = Math.max(...ranks.flatMap((rank) => [raw[ids[rank]], scored[rank], drawn[rank]]));
    let sum = 0;
    return h(
      "table",
      { class: "bars", "aria-labelledby": "place" },
      h("thead", null, h("tr", null, ["token", "bars", "raw", "scored", "drawn", "sum"].map((name) => h("th", { scope: "col", class: `is-${name}` }, () => text(`inspector.${name}`))))),
      h("tbody", null, ranks.map(row)),
    );

    /** @param {number} rank */
    function row(rank) {
      const id = ids[rank];
      const before = sum;
      sum = rank < NUM_ROWS ? sum + drawn[rank] : drawn.subarray(0, rank + 1).reduce((total, each) => total + each, 0);
      const next = sum + (drawn[rank + 1] ?? 0);
      const values = [raw[id], scored[rank], drawn[rank]];
      return h(
        "tr",
        { class: `${drawn[rank] > 0 ? "" : "is-out"} ${id === chosen ? "is-chosen" : ""}` },
        h("th", { scope: "row" }, pick(id, id === chosen)),
        h(
          "td",
          { class: "is-bars", "aria-hidden": "true" },
          h(
            "svg:svg",
            { viewBox: "0 0 100 100", preserveAspectRatio: "none" },
            values.map((value, index) => h("svg:rect", { class: `bar-${index}`, y: 12 + 27 * index, height: 22, width: (100 * value) / most })),
            h("svg:polyline", { points: [...(rank > 0 ? [50 * (before + sum), 0] : []), 100 * sum, 50, 50 * (sum + next), 100].join(" ") }),
          ),
        ),
        ...["raw", "scored", "drawn", "sum"].map((name, index) => h("td", { class: `is-${name}` }, () => (drawn[rank] > 0 || index < 2 ? language.share([...values, sum][index]) : "–"))),
      );
    }
  }

  /** @param {number} id @param {boolean} isChosen */
  function pick(id, isChosen) {
    const isEnd = id === inspector.tokens.peek().eos_token_id;
    const name = isEnd ? text("inspector.eos") : visible(inspector.text(id));
    if (isChosen || isEnd || !inspector.vocabulary()[id] || chat.reply() !== null) return h("span", { class: "pick" }, name);
    return h("button", { class: "pick", title: () => text("inspector.branch"), onclick: () => inspector.branch(id) }, name);
  }
});
