// @ts-check
/** How the page is looked at: theme, open panels and dialogs. */

import { signal } from "../kernel/signal.js";

export const THEMES = ["system", "light", "dark"];

export class View {
  /** @param {import("../lib/storage.js").LocalStorage} storage */
  constructor(storage) {
    this.storage = storage;
    this.theme = signal(THEMES.includes(storage.get("theme")) ? storage.get("theme") : "system");
  }

  isListOpen = signal(false);
  isSamplingOpen = signal(false);
  /** Id of the message that is being edited. */
  editing = signal(/** @type {string | null} */ (null));
  /** The reply whose making is shown. */
  details = signal(/** @type {import("../engine/types.js").Message | null} */ (null));
  /** @type {import("../kernel/signal.js").Signal<string | null>} */ dialog = signal(/** @type {string | null} */ (null));

  /** @param {import("../engine/types.js").Message} message */
  showDetails(message) {
    this.details.set(message);
    this.dialog.set("details");
  }

  nextTheme() {
    const next = THEMES[(THEMES.indexOf(this.theme.peek()) + 1) % THEMES.length];
    this.theme.set(next);
    this.storage.set("theme", next);
  }
}
