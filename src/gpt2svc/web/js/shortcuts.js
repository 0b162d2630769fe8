// @ts-check
/** The keys of the page: one table, of which the sheet shown by `?` is made. Letters go by their place on the keyboard. */

/** Names that begin with "key." are translated. @type {{keys: string[], text: string}[]} */
export const SHORTCUTS = [
  { keys: ["Enter"], text: "keys.send" },
  { keys: ["Shift", "Enter"], text: "keys.line" },
  { keys: ["Esc"], text: "keys.stop" },
  { keys: ["↑"], text: "keys.editLast" },
  { keys: ["Ctrl", "Shift", "O"], text: "keys.new" },
  { keys: ["Ctrl", "K"], text: "keys.search" },
  { keys: ["Ctrl", "."], text: "keys.sampling" },
  { keys: ["Shift", "Esc"], text: "keys.focus" },
  { keys: ["F2"], text: "keys.rename" },
  { keys: ["Delete"], text: "keys.delete" },
  { keys: ["?"], text: "keys.sheet" },
];

/** @param {KeyboardEvent} event */
function isTyping(event) {
  return event.target instanceof HTMLElement && event.target.matches("input, textarea, select, [contenteditable]");
}

/** @param {import("./store/app.js").Stores} app @param {import("./components/media.js").Media} media */
export function listenForShortcuts(app, media) {
  const { chat, view } = app;
  document.addEventListener("keydown", (event) => {
    if (event.isComposing || event.defaultPrevented || view.dialog.peek() !== null) return;
    const isCommand = event.ctrlKey || event.metaKey;
    if (isCommand && event.shiftKey && event.code === "KeyO") {
      void chat.open(null);
      focus("say");
    } else if (isCommand && !event.shiftKey && event.code === "KeyK") {
      view.isListOpen.set(true);
      focus("search");
    } else if (isCommand && event.code === "Period") {
      view.isSamplingOpen.set(true);
      focus("setting-temperature");
    } else if (event.shiftKey && event.key === "Escape") focus("say");
    else if (event.key === "Escape") {
      if (view.isListOpen.peek() && media.isListDrawer.peek()) view.isListOpen.set(false);
      else if (view.isSamplingOpen.peek() && media.isSamplingDrawer.peek()) view.isSamplingOpen.set(false);
      else if (app.inspector.isOpen.peek()) app.inspector.close();
      else if (chat.reply.peek() !== null) void chat.stop();
      else return;
    } else if (event.key === "?" && !isTyping(event)) view.dialog.set("keys");
    else return;
    event.preventDefault();
  });

  /** @param {string} id */
  function focus(id) {
    requestAnimationFrame(() => document.getElementById(id)?.focus());
  }
}
