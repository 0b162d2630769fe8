// @ts-check
import { h } from "../kernel/dom.js";
import { effect, onDispose } from "../kernel/signal.js";

/**
 * A message's text: one text node, to which a reply in progress appends once a frame, however fast its tokens come.
 * @param {() => any} message @param {() => any} reply the one in progress, if it is this message's
 */
export function replyText(message, reply) {
  const node = document.createTextNode("");
  effect(() => {
    const live = reply();
    if (live !== null) grow(live);
    else show(message()?.content ?? "");
  });
  return h("div", { class: "text", dir: "auto" }, node);

  /** @param {string} text */
  function show(text) {
    if (text.startsWith(node.data)) node.appendData(text.slice(node.length));
    else node.data = text;
  }

  /** @param {any} live */
  function grow(live) {
    let frame = 0;
    const paint = () => {
      frame = 0;
      show(live.text);
    };
    effect(() => {
      live.length();
      if (frame === 0) frame = requestAnimationFrame(paint);
    });
    onDispose(() => cancelAnimationFrame(frame));
  }
}
