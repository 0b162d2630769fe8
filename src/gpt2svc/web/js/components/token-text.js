// @ts-check
import { h } from "../kernel/dom.js";

/** White space that can be seen. @param {string} text */
export function visible(text) {
  return text.trim() === "" ? text.replaceAll(" ", "␣").replaceAll("\t", "⇥").replaceAll("\n", "⏎") : text;
}

/**
 * Tokens as running text, each an option: one stop of the Tab key, arrows move among them.
 * @param {readonly string[]} texts @param {() => string} label @param {() => string} end of what follows the last
 * @param {() => number} chosen @param {(index: number) => void} choose @param {(index: number) => void} hover
 */
export function tokenText(texts, label, end, chosen, choose, hover) {
  const options = [...texts, null].map((text, index) =>
    h(
      "span",
      {
        class: `token ${text === null ? "token-end" : ""}`,
        role: "option",
        tabindex: () => (chosen() === index ? 0 : -1),
        "aria-selected": () => String(chosen() === index),
        onfocus: () => choose(index),
        // Not "enter": what comes to lie under a pointer at rest is not meant; nor is what a finger scrolls.
        onpointermove: (/** @type {PointerEvent} */ event) => event.pointerType !== "touch" && hover(index),
      },
      text === null ? () => end() : [visible(text), text.includes("\n") ? h("br") : null],
    ),
  );
  return h("div", { class: "tokens", role: "listbox", "aria-label": label, onkeydown: onKey, onclick: onClick, onpointerleave: () => hover(chosen()) }, options);

  /** @param {MouseEvent} event */
  function onClick(event) {
    /** @type {HTMLElement | null} */ (/** @type {Element} */ (event.target).closest(".token"))?.focus();
  }

  /** @param {KeyboardEvent} event */
  function onKey(event) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -Infinity, End: Infinity, Enter: 0 }[event.key];
    if (step === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    if (step === 0) /** @type {HTMLElement | null} */ (document.querySelector("button.pick"))?.focus();
    else options[Math.min(Math.max(chosen() + step, 0), options.length - 1)].focus();
  }
}
