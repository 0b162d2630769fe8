// @ts-check
import { h } from "../kernel/dom.js";
import { signal } from "../kernel/signal.js";
import { isOnItsWay } from "../store/connection.js";
import { hint, icon } from "./icons.js";

/** The model's name with the state it is in; opens the list of models. @param {any} app */
export function modelPicker(app) {
  const { chat, language, connection, engine, notices, text } = app;
  const all = signal(/** @type {any[]} */ ([]));
  const status = () => (connection.state() === "down" ? "away" : chat.model()?.status ?? "away");

  const panel = h(
    "div",
    { class: "model-panel", id: "models", popover: "auto", role: "group", "aria-label": () => text("model.choose"), ontoggle: onToggle },
    h("p", { class: "panel-title" }, () => text("model.choose")),
    () => (all().length === 0 ? hint(app, "loading", "note") : all().map(row)),
    hint(app, "model.hint"),
  );
  return h(
    "div",
    { class: "model" },
    h(
      "button",
      { class: "model-button", popovertarget: "models", "aria-label": () => `${text("model.label")}: ${shortName(chat.model()?.id)}, ${stateOf(chat.model())}` },
      h("span", { class: () => `dot dot-${status()}`, "aria-hidden": "true" }),
      h("span", { class: "model-name" }, () => shortName(chat.model()?.id)),
      () => (isOnItsWay(chat.model() ?? { status: "" }) ? h("span", { class: "muted" }, percent(chat.model())) : null),
      icon("chevron"),
    ),
    panel,
  );

  /** @param {any} model */
  function row(model) {
    const isCurrent = () => chat.model()?.id === model.id;
    const facts = [model.num_parameters && text("model.parameters", { number: language.compact().format(model.num_parameters) }), model.n_positions && text("model.window", { count: model.n_positions }), model.device].filter(Boolean);
    return h(
      "button",
      { class: "model-row", "aria-pressed": () => String(isCurrent()), disabled: model.status === "failed" && Boolean(model.error) && !isCurrent(), onclick: () => choose(model.id) },
      h("span", { class: `dot dot-${model.status}`, "aria-hidden": "true" }),
      h("span", { class: "model-id" }, shortName(model.id)),
      h("span", { class: "muted small" }, () => [stateOf(model), ...facts].join(" · ")),
      model.error && h("span", { class: "small problem" }, model.error),
      () => (isCurrent() ? icon("check") : null),
    );
  }

  /** @param {any} model */
  function stateOf(model) {
    if (connection.state() === "down") return text("model.state.away");
    return text(`model.state.${model?.status ?? "away"}`) + (model?.percent ? ` ${percent(model)}` : "");
  }

  /** @param {any} model */
  function percent(model) {
    return model?.percent === null || model?.percent === undefined ? "…" : `${language.number(Math.round(model.percent))} %`;
  }

  /** @param {any} event */
  async function onToggle(event) {
    if (event.newState !== "open") return;
    try {
      all.set(await engine.models());
    } catch (error) {
      notices.problem(error);
    }
  }

  /** @param {string} id */
  function choose(id) {
    panel.hidePopover();
    chat.useModel(id).catch((/** @type {any} */ error) => notices.problem(error));
  }
}

/** A folder's last part, a name without its owner. @param {string | undefined} id */
export function shortName(id) {
  return id?.split(/[\\/]/).filter(Boolean).pop() ?? "…";
}
