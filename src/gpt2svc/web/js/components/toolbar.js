// @ts-check
import { h } from "../kernel/dom.js";

/**
 * Buttons as one stop of the Tab key: arrows move among them.
 * @param {string} className @param {() => string} label @param {any[]} children
 */
export function toolbar(className, label, ...children) {
  const bar = h("div", { class: className, role: "toolbar", "aria-label": label, onkeydown: onKey, onfocusin: rove }, ...children);
  return bar;

  /** @returns {HTMLElement[]} */
  function stops() {
    return [...bar.querySelectorAll("button:not([disabled])")];
  }

  /** @param {KeyboardEvent} event */
  function onKey(event) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    const buttons = stops();
    const index = buttons.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    if (index < 0) return;
    event.preventDefault();
    buttons[(index + step + buttons.length) % buttons.length].focus();
  }

  /** @param {FocusEvent} event */
  function rove(event) {
    for (const button of stops()) button.tabIndex = button === event.target ? 0 : -1;
  }
}
