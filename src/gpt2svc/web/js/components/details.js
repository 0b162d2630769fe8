// @ts-check
import { h } from "../kernel/dom.js";
import { effect, signal } from "../kernel/signal.js";
import { dialog } from "./dialog.js";
import { RANGES } from "../store/sampling.js";
import { hint, iconButton } from "./icons.js";
import { copyText } from "../lib/clipboard.js";

/** How a reply was made: everything that is needed to make it again. @param {any} app */
export function detailsDialog(app) {
  const { engine, language, view, notices, sampling, text } = app;
  return dialog(app, "details", "details.title", () => {
    const message = view.details.peek();
    const generation = signal(/** @type {any} */ (null));
    effect(() => {
      engine.generation(message.generation_id).then(generation.set, (/** @type {any} */ error) => notices.problem(error));
    });
    return () => {
      const made = generation();
      if (made === null) return hint(app, "loading", "note");
      const { timings, usage, settings } = made;
      return [
        h(
          "dl",
          { class: "facts" },
          fact("model.label", made.model),
          fact("details.revision", made.model_revision),
          fact("details.when", language.moment(made.created_at)),
          usage && fact("details.prompt", text("tokens", { count: usage.prompt_tokens }) + (usage.cached_tokens ? ` · ${text("details.cached", { count: usage.cached_tokens })}` : "")),
          usage && fact("details.reply", text("tokens", { count: usage.completion_tokens })),
          made.dropped_message_ids.length > 0 && fact("details.dropped", language.number(made.dropped_message_ids.length)),
          timings?.tokens_per_second && fact("details.rate", text("rate", { rate: language.number(timings.tokens_per_second, 1) })),
          timings?.total && fact("details.time", text("seconds", { seconds: language.number(timings.total, 2) })),
          fact("seed", h("span", null, String(made.seed), iconButton("copy", () => text("copy"), () => void copyText(String(made.seed))), iconButton("lock", () => text("seed.again"), () => sampling.set("seed", made.seed)))),
        ),
        h("h3", null, () => text("sampling.label")),
        h("dl", { class: "facts" }, Object.keys(RANGES).filter((name) => name in settings).map((name) => fact(`setting.${name}`, language.number(settings[name])))),
        h("div", { class: "editor-actions" }, h("button", { class: "button", onclick: () => take(settings) }, () => text("details.use"))),
      ];
    };
  });

  /** @param {string} key @param {any} value */
  function fact(key, value) {
    return h("div", null, h("dt", null, () => text(key)), h("dd", null, value));
  }

  /** @param {any} settings */
  function take(settings) {
    for (const name of Object.keys(RANGES)) if (name in settings) sampling.set(name, settings[name]);
    view.dialog.set(null);
    notices.tell("notice.taken");
  }
}
