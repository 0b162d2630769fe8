// @ts-check
import { h } from "../kernel/dom.js";
import { effect } from "../kernel/signal.js";
import { iconButton } from "./icons.js";

/**
 * A modal dialog that is open while `view.dialog` has its name; its content is made anew each time.
 * @param {any} app @param {string} name @param {string} title key @param {() => any} content
 */
export function dialog(app, name, title, content) {
  const { text } = app;
  const close = () => app.view.dialog.peek() === name && app.view.dialog.set(null);
  const element = h(
    "dialog",
    { class: `dialog dialog-${name}`, "aria-labelledby": `dialog-${name}`, onclose: close, onclick: onBackdrop },
    () =>
      app.view.dialog() === name
        ? h(
            "div",
            { class: "dialog-body" },
            h("header", { class: "dialog-head" }, h("h2", { id: `dialog-${name}` }, () => text(title)), iconButton("close", () => text("close"), close)),
            content(),
          )
        : null,
  );
  effect(() => {
    const isWanted = app.view.dialog() === name;
    // Only what is in the page can be shown: the first time it is not yet.
    queueMicrotask(() => {
      if (isWanted && element.isConnected && !element.open) element.showModal();
      else if (!isWanted && element.open) element.close();
    });
  });
  return element;

  /** @param {MouseEvent} event */
  function onBackdrop(event) {
    if (event.target === element) close();
  }
}
