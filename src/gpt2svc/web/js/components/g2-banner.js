// @ts-check
import { define, h } from "../kernel/dom.js";
import { effect, onDispose, signal } from "../kernel/signal.js";
import { isOnItsWay } from "../store/connection.js";
import { icon, linkButton } from "./icons.js";

/** What concerns the whole service: away, without a model, shutting down; or a browser that keeps nothing. */
define("g2-banner", ({ app }) => {
  const { connection, chat, storage, view, text } = app;
  const now = signal(Date.now());
  effect(() => {
    if (connection.state() !== "down") return;
    const timer = setInterval(() => now.set(Date.now()), 500);
    onDispose(() => clearInterval(timer));
  });
  return () => {
    if (connection.needsKey()) {
      return banner("warn", () => text("key.needed"), linkButton(app, "key.enter", () => view.dialog.set("key")));
    }
    if (connection.state() === "down") {
      const wait = () => Math.max(0, Math.ceil((connection.nextAt() - now()) / 1000));
      return banner("warn", () => text("banner.down", { seconds: wait() }), linkButton(app, "retry", () => connection.check()), h("details", null, h("summary", null, () => text("banner.how")), h("code", null, "gpt2svc serve")));
    }
    const model = chat.model();
    if (connection.health()?.status === "draining") return banner("info", () => text("banner.draining"));
    if (model && isOnItsWay(model)) {
      return banner("info", () => text("banner.loading", { stage: model.stage || text(`model.state.${model.status}`) }), h("progress", { "aria-label": () => text("model.state.loading"), max: 100, value: model.percent ?? null }));
    }
    if (model?.status === "failed") return banner("warn", () => text("banner.failed", { message: model.error ?? "" }));
    if (storage.isBlocked()) return banner("info", () => text("banner.storage"));
    return null;
  };

  /** @param {string} kind @param {() => string} message @param {any[]} rest */
  function banner(kind, message, ...rest) {
    return h("div", { class: `banner banner-${kind}`, role: kind === "warn" ? "alert" : null }, icon(kind === "warn" ? "warning" : "info"), h("span", { class: "banner-text" }, message), ...rest);
  }
});
