// @ts-check
import { h } from "../kernel/dom.js";
import { signal } from "../kernel/signal.js";
import { dialog } from "./dialog.js";
import { hint, icon, linkButton } from "./icons.js";

/** Conversations as a file, and back, with a look at what is in it first. @param {any} app */
export function transferDialog(app) {
  const { chat, conversations, language, notices, repository, text } = app;
  return dialog(app, "transfer", "transfer.title", () => {
    /** What the service says of a chosen file. */
    const found = signal(/** @type {any} */ (null));
    const problem = signal(/** @type {any} */ (null));
    let file = "";
    const input = h("input", { type: "file", id: "import-file", accept: ".json,.txt,application/json,text/plain", class: "visually-hidden", onchange: look });
    const name = signal("");
    return [
      h("h3", null, () => text("transfer.export")),
      hint(app, "transfer.formats"),
      /** @type {("json" | "txt")[]} */ (["json", "txt"]).map((format) =>
        h(
          "div",
          { class: "transfer-row" },
          h("span", null, () => text(`transfer.${format}`)),
          () => (chat.id() === null ? null : linkButton(app, "transfer.this", () => save(chat.id.peek(), format), "download")),
          linkButton(app, "transfer.all", () => save(null, format), "download"),
        ),
      ),
      h("h3", null, () => text("transfer.import")),
      h("label", { class: "button file" }, input, icon("upload"), () => name() || text("transfer.choose")),
      () => (problem() === null ? null : h("p", { class: "problem", role: "alert" }, () => language.problem(problem()))),
      () => (found() === null ? null : preview(found())),
    ];

    /** @param {any} result */
    function preview(result) {
      const count = result.num_imported;
      return [
        h("p", { role: "status" }, () => text(result.dry_run ? "transfer.found" : "transfer.done", { count, there: result.num_duplicates, bad: result.num_invalid })),
        h("ul", { class: "transfer-list" }, result.conversations.slice(0, 100).map(row)),
        result.dry_run &&
          h("div", { class: "editor-actions" }, h("button", { class: "button primary", disabled: count === 0, onclick: bring }, () => text("transfer.bring"))),
      ];
    }

    /** @param {any} each */
    function row(each) {
      const isBad = each.status === "invalid";
      return h(
        "li",
        { class: isBad ? "problem" : "" },
        icon({ imported: "plus", duplicate: "check", invalid: "warning" }[/** @type {"invalid"} */ (each.status)]),
        h("span", null, each.title ?? text("untitled")),
        h("span", { class: "small" }, () => (isBad ? each.reason : text(`transfer.status.${each.status}`))),
      );
    }

    async function look() {
      found.set(null);
      problem.set(null);
      const chosen = input.files?.[0];
      name.set(chosen?.name ?? "");
      if (!chosen) return;
      file = await chosen.text();
      await ask(true);
    }

    async function bring() {
      await ask(false);
      void conversations.load();
    }

    /** @param {boolean} isTrial */
    async function ask(isTrial) {
      try {
        found.set(await repository.importFile(file, isTrial));
      } catch (error) {
        problem.set(error);
      }
    }
  });

  /** @param {string | null} id @param {"json" | "txt"} format */
  async function save(id, format) {
    try {
      const url = URL.createObjectURL(await repository.exportFile(id, format));
      const link = h("a", { href: url, download: `gpt2svc-${id ?? "conversations"}.${format}` });
      document.body.append(link);
      link.click();
      link.remove();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
    } catch (error) {
      notices.problem(error);
    }
  }
}
