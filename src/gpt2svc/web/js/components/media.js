// @ts-check
import { signal } from "../kernel/signal.js";

/** A media query as a signal. @param {string} query */
function media(query) {
  const list = matchMedia(query);
  const matches = signal(list.matches);
  list.addEventListener("change", () => matches.set(list.matches));
  return matches;
}

/** What the stylesheet's own queries decide, for what only code can do: `inert`, and what Enter means. */
export class Media {
  isListDrawer = media("(max-width: 819.98px)");
  isSamplingDrawer = media("(max-width: 1179.98px)");
  isTouch = media("(hover: none) and (pointer: coarse)");
}
