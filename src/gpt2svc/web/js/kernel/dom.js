// @ts-check
/** Elements from functions. Text goes in as text nodes only: no markup is ever parsed. */

import { effect, onDispose, root } from "./signal.js";

const SVG = "http://www.w3.org/2000/svg";

/** @typedef {any} Child a node, text, an array, null, or a function of one of these, which follows its signals */

/**
 * `props`: "class", attributes, "on…" listeners, ".name" for properties; a function follows its signals, but for the
 * properties of custom elements, which are handed over as they are.
 * @param {string} tag
 * @param {Record<string, any> | null} [props]
 * @param {...Child} children
 * @returns {any}
 */
export function h(tag, props, ...children) {
  const isSvg = tag.startsWith("svg:");
  const element = isSvg ? document.createElementNS(SVG, tag.slice(4)) : document.createElement(tag);
  if (tag === "button") element.setAttribute("type", "button"); // else it would send the form that it stands in
  for (const [name, value] of Object.entries(props ?? {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (typeof value === "function" && !(name.startsWith(".") && tag.includes("-"))) effect(() => put(element, name, value()));
    else put(element, name, value);
  }
  append(element, children);
  return element;
}

/** @param {any} element @param {string} name @param {any} value */
function put(element, name, value) {
  if (name.startsWith(".")) {
    // Setting a field's value to what it has already would move the caret.
    if (element[name.slice(1)] !== value) element[name.slice(1)] = value;
  } else if (value === false || value === null || value === undefined) element.removeAttribute(name);
  else element.setAttribute(name, value === true ? "" : String(value));
}

/** @param {Node} parent @param {Child} child */
export function append(parent, child) {
  if (Array.isArray(child)) for (const each of child) append(parent, each);
  else if (typeof child === "function") follow(parent, child);
  else if (child instanceof Node) parent.appendChild(child);
  else if (child !== null && child !== undefined && child !== false) {
    parent.appendChild(document.createTextNode(String(child)));
  }
}

/** @param {Node} parent @param {() => Child} child */
function follow(parent, child) {
  const start = parent.appendChild(document.createComment(""));
  const end = parent.appendChild(document.createComment(""));
  effect(() => {
    const value = child();
    const isText = typeof value === "string" || typeof value === "number";
    const first = start.nextSibling;
    if (isText && first instanceof Text && first.nextSibling === end) {
      if (first.data !== String(value)) first.data = String(value);
      return;
    }
    while (start.nextSibling !== null && start.nextSibling !== end) start.nextSibling.remove();
    const fragment = document.createDocumentFragment();
    append(fragment, value);
    end.parentNode?.insertBefore(fragment, end);
  });
}

/**
 * One node for each item, kept as long as its key is in the list, moved only when the order has changed.
 * @template T
 * @param {() => readonly T[]} items
 * @param {(item: T) => string} key
 * @param {(item: T) => Element} render called once for a key
 * @returns {(parent: Element) => void} fills `parent`, which holds nothing else
 */
export function list(items, key, render) {
  return (parent) => {
    /** @type {Map<string, {element: Element, dispose: () => void}>} */ const rows = new Map();
    effect(() => {
      const wanted = items();
      const keys = new Set(wanted.map(key));
      for (const [name, row] of rows) {
        if (keys.has(name)) continue;
        row.dispose();
        row.element.remove();
        rows.delete(name);
      }
      /** @type {Element | null} */ let next = null;
      for (const item of [...wanted].reverse()) {
        const name = key(item);
        let row = rows.get(name);
        if (row === undefined) {
          const made = { element: /** @type {Element} */ (parent), dispose: () => {} };
          made.dispose = root(() => void (made.element = render(item)));
          rows.set(name, (row = made));
        }
        const isPlaced = row.element.parentNode === parent && row.element.nextElementSibling === next;
        if (!isPlaced) parent.insertBefore(row.element, next);
        next = row.element;
      }
    });
    onDispose(() => rows.forEach((row) => row.dispose()));
  };
}

/**
 * A custom element as the boundary of a lifetime: `render` runs when it enters the page, and ends when it has left.
 * @param {string} name
 * @param {(element: any) => Child} render
 */
export function define(name, render) {
  customElements.define(
    name,
    class extends HTMLElement {
      /** @type {(() => void) | null} */ #dispose = null;

      connectedCallback() {
        this.#dispose ??= root(() => append(this, render(this)));
      }

      disconnectedCallback() {
        // A move takes it out and puts it in again at once.
        queueMicrotask(() => {
          if (this.isConnected || this.#dispose === null) return;
          this.#dispose();
          this.#dispose = null;
          this.replaceChildren();
        });
      }
    },
  );
}
