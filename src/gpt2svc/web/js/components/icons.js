// @ts-check
/** Our own icons: strokes on a grid of 24, drawn in the colour of the text. */

import { h } from "../kernel/dom.js";

/** @type {Record<string, string>} */
const PATHS = {
  plus: "M12 5v14M5 12h14",
  menu: "M4 7h16M4 12h16M4 17h10",
  close: "M6 6l12 12M18 6L6 18",
  search: "M10.5 4a6.5 6.5 0 1 0 0 13a6.5 6.5 0 1 0 0-13M15.5 15.5L20 20",
  send: "M12 19V5M6 11l6-6l6 6",
  stop: "M7 7h10v10H7z",
  copy: "M9 9h10v10H9zM5 15V5h10",
  check: "M5 12.5l4.5 4.5L19 7.5",
  edit: "M5 19h3.5L18.5 9L15 5.5L5 15.5zM13 7.5l3.5 3.5",
  trash: "M5 7h14M10 7V4.5h4V7M7 7l1 12.5h8L17 7M10.5 10.5v6M13.5 10.5v6",
  again: "M19 12a7 7 0 1 1-2.3-5.2M19 4v4h-4",
  forward: "M5 6.5v11l7-5.5zM13 6.5v11l7-5.5z",
  left: "M14.5 6l-6 6l6 6",
  right: "M9.5 6l6 6l-6 6",
  down: "M12 5v14M6 13l6 6l6-6",
  chevron: "M7 10l5 5l5-5",
  info: "M12 4a8 8 0 1 0 0 16a8 8 0 1 0 0-16M12 11v5M12 8v.2",
  sliders: "M4 8h9M17 8h3M15 6v4M4 16h3M11 16h9M9 14v4",
  sun: "M12 8a4 4 0 1 0 0 8a4 4 0 1 0 0-8M12 3v1.5M12 19.5V21M3 12h1.5M19.5 12H21M5.6 5.6l1.1 1.1M17.3 17.3l1.1 1.1M18.4 5.6l-1.1 1.1M6.7 17.3l-1.1 1.1",
  moon: "M19 14.5A7.5 7.5 0 0 1 9.5 5a7.5 7.5 0 1 0 9.5 9.5",
  system: "M4 5h16v11H4zM9 20h6M12 16v4",
  help: "M9 9.5a3 3 0 1 1 4.5 2.6c-1 .6-1.5 1.2-1.5 2.4M12 17.5v.2M12 3.5a8.5 8.5 0 1 0 0 17a8.5 8.5 0 1 0 0-17",
  dice: "M5 5h14v14H5zM9 9v.2M15 15v.2M15 9v.2M9 15v.2M12 12v.2",
  lock: "M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 7 0v3",
  undo: "M9 6L5 10l4 4M5 10h8.5a5 5 0 0 1 0 10H10",
  download: "M12 4v11M7 10.5l5 5l5-5M5 19.5h14",
  upload: "M12 15.5V4.5M7 9l5-5l5 5M5 19.5h14",
  bars: "M4 6h13M4 12h8M4 18h4",
  warning: "M12 4.5L21 19.5H3zM12 10v4.5M12 17v.2",
};

/** @param {string} name */
export function icon(name) {
  return h(
    "svg:svg",
    { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true", focusable: "false" },
    h("svg:path", { d: PATHS[name] }),
  );
}

/** A line in small print. @param {any} app @param {string} key of its text @param {string} [className] */
export function hint(app, key, className = "small") {
  return h("p", { class: `muted ${className}` }, () => app.text(key));
}

/**
 * A button that looks like a link.
 * @param {any} app @param {string} key of its text @param {() => void} onclick @param {string} [name] of an icon before it
 */
export function linkButton(app, key, onclick, name) {
  return h("button", { class: "link", onclick }, name && icon(name), () => app.text(key));
}

/**
 * A button that is an icon with a name.
 * @param {string} name of the icon @param {() => string} label @param {(event: Event) => void} onclick
 * @param {Record<string, any>} [props]
 */
export function iconButton(name, label, onclick, props = {}) {
  return h("button", { class: "icon-button", "aria-label": label, title: label, onclick, ...props }, icon(name));
}
