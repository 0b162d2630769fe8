// @ts-check
/** Puts stores and page together, and tells the stores what happens to the window. */

import { h } from "./kernel/dom.js";
import { effect } from "./kernel/signal.js";
import { Media } from "./components/media.js";
import { listenForShortcuts } from "./shortcuts.js";
import { Stores } from "./store/app.js";
import "./components/g2-app.js";
import "./components/g2-banner.js";
import "./components/g2-composer.js";
import "./components/g2-conversations.js";
import "./components/g2-inspector.js";
import "./components/g2-message.js";
import "./components/g2-messages.js";
import "./components/g2-sampling.js";
import "./components/g2-topbar.js";

const asked = new URLSearchParams(location.search).get("lang");
const app = new Stores(asked === null ? navigator.languages : [asked, ...navigator.languages]);
if (asked !== null) app.language.use([asked, app.language.code.peek()].find((code) => ["en", "uk"].includes(code)) ?? "en");
const media = new Media();

/** The conversation that the address names. */
function addressed() {
  return /^#(conv_\w+)$/.exec(location.hash)?.[1] ?? null;
}

void app.chat.open(addressed() ?? app.storage.get("open"));
effect(() => {
  document.documentElement.lang = app.language.code();
  const title = app.chat.conversation()?.title;
  document.title = title ? `${title} · gpt2svc` : "gpt2svc";
});
effect(() => void (document.documentElement.dataset.theme = app.view.theme()));
effect(() => {
  if (app.connection.needsKey()) app.view.dialog.set("key");
});
effect(() => {
  const id = app.chat.id();
  if (id === addressed()) return;
  // A place in the browser's history for each conversation; the first look at one is none of its own.
  const url = id === null ? location.pathname + location.search : `#${id}`;
  if (addressed() === null && id !== null) history.replaceState(null, "", url);
  else history.pushState(null, "", url);
});

addEventListener("popstate", () => {
  if (addressed() !== app.chat.id.peek()) void app.chat.open(addressed());
});
addEventListener("online", () => app.connection.check());
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState !== "visible") return;
  app.chat.suspect();
  app.connection.check();
});
listenForShortcuts(app, media);

document.body.replaceChildren(h("g2-app", { ".app": app, ".media": media }));
void app.connection.run(app.engine);
if (!media.isTouch.peek()) document.getElementById("say")?.focus();
