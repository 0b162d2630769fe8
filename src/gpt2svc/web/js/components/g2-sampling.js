// @ts-check
import { define, h } from "../kernel/dom.js";
import { MAIN_SETTINGS, MORE_SETTINGS, PRESETS, RANGES } from "../store/sampling.js";
import { hint, icon, iconButton } from "./icons.js";

/** Sliders for the next reply. What is moved here is kept with the conversation, and with each reply. */
define("g2-sampling", ({ app }) => {
  const { sampling, language, view, chat, text } = app;
  return [
    h(
      "div",
      { class: "sampling-head" },
      h("h2", null, () => text("sampling.label")),
      () => (Object.keys(sampling.overrides()).length > 0 ? h("button", { class: "link", onclick: () => sampling.reset() }, icon("undo"), () => text("sampling.reset")) : null),
      iconButton("close", () => text("close"), () => view.isSamplingOpen.set(false), { class: "icon-button only-sheet" }),
    ),
    h(
      "div",
      { class: "presets", role: "group", "aria-label": () => text("sampling.presets") },
      Object.keys(PRESETS).map((name) => h("button", { "aria-pressed": () => String(sampling.preset() === name), onclick: () => sampling.usePreset(name) }, () => text(`preset.${name}`))),
    ),
    () => (Object.keys(sampling.limits()).length === 0 ? hint(app, "loading", "note") : [MAIN_SETTINGS.map(setting), seed(), h("details", { class: "more" }, h("summary", null, () => text("sampling.more")), MORE_SETTINGS.map(setting))]),
    hint(app, "sampling.note", "small note"),
  ];

  /** @param {string} name */
  function setting(name) {
    const limit = sampling.limits.peek()[name];
    if (limit === undefined) return null;
    const range = RANGES[/** @type {"top_k"} */ (name)];
    const value = () => sampling.values()[name];
    const isChanged = () => name in sampling.overrides();
    const label = () => text(`setting.${name}`);
    const most = () => Math.min(range.to, limit.maximum, name.endsWith("new_tokens") ? (chat.model()?.n_positions ?? Infinity) - 1 : Infinity);
    return h(
      "div",
      { class: () => `setting ${isChanged() ? "is-changed" : ""}` },
      h(
        "div",
        { class: "setting-head" },
        h("label", { for: `setting-${name}` }, label),
        () => (isChanged() ? iconButton("undo", () => text("setting.default", { name: label(), value: sampling.defaults()[name] }), () => (sampling.set(name, null), document.getElementById(`setting-${name}`)?.focus()), { class: "icon-button tiny" }) : null),
        number(name, limit, range.step),
      ),
      h("input", {
        type: "range",
        id: `setting-${name}`,
        min: Math.max(range.from, limit.minimum),
        max: most,
        step: range.step,
        ".value": () => String(value()),
        "aria-valuetext": () => `${language.number(value())}${meaning(name, value())}`,
        "aria-describedby": `about-${name}`,
        oninput: (/** @type {any} */ event) => sampling.set(name, Number(event.target.value)),
      }),
      h("p", { class: "muted small about", id: `about-${name}` }, () => {
        const refused = sampling.refused();
        if (refused?.name === name) return h("span", { class: "problem", role: "alert" }, refused.message);
        return meaning(name, value()).replace(/^, /, "") || text(`setting.${name}.about`);
      }),
    );
  }

  /** @param {string} name @param {import("../engine/types.js").Limits} limit @param {number} step */
  function number(name, limit, step) {
    return h("input", {
      type: "number",
      class: "number",
      inputmode: limit.isWhole ? "numeric" : "decimal",
      "aria-label": () => text("setting.exact", { name: text(`setting.${name}`) }),
      min: limit.minimum,
      max: limit.maximum,
      step: limit.isWhole ? 1 : step / 5,
      ".value": () => String(sampling.values()[name]),
      onchange: (/** @type {any} */ event) => {
        sampling.set(name, event.target.value === "" ? null : event.target.valueAsNumber);
        event.target.value = String(sampling.values.peek()[name]);
      },
    });
  }

  /** What a value at the edge of its range means. @param {string} name @param {number} value */
  function meaning(name, value) {
    if (name === "temperature" && value === 0) return `, ${text("setting.greedy")}`;
    const off = { top_k: 0, top_p: 1, repetition_penalty: 1, min_p: 0, typical_p: 1, no_repeat_ngram_size: 0, presence_penalty: 0, frequency_penalty: 0 }[name];
    return off === value ? `, ${text("setting.off")}` : "";
  }

  function seed() {
    const value = () => sampling.values().seed;
    const lastSeed = () => chat.path().findLast((/** @type {any} */ each) => Number.isInteger(each.message.settings?.seed))?.message.settings.seed;
    const isLocked = () => value() !== null && value() !== undefined;
    return h(
      "div",
      { class: () => `setting seed ${isLocked() ? "is-changed" : ""}` },
      h(
        "div",
        { class: "setting-head" },
        h("label", { for: "seed" }, () => text("seed")),
        h("input", {
          type: "number",
          id: "seed",
          class: "number wide",
          min: 0,
          step: 1,
          inputmode: "numeric",
          placeholder: () => text("seed.random"),
          "aria-describedby": "about-seed",
          ".value": () => (isLocked() ? String(value()) : ""),
          onchange: (/** @type {any} */ event) => sampling.set("seed", event.target.value === "" ? null : event.target.valueAsNumber),
        }),
        () =>
          isLocked()
            ? iconButton("lock", () => text("seed.release"), () => sampling.set("seed", null), { "aria-pressed": "true" })
            : iconButton("dice", () => text("seed.lock"), () => sampling.set("seed", lastSeed() ?? crypto.getRandomValues(new Uint32Array(1))[0]), { "aria-pressed": "false" }),
      ),
      h("p", { class: "muted small about", id: "about-seed" }, () => text(isLocked() ? "seed.locked" : "seed.about")),
    );
  }
});
