// @ts-check
/** A conversation's messages as a tree: which branch is shown, and what stands beside each message. */

/** @typedef {import("../engine/types.js").Message} Message */

/** @param {readonly Message[]} messages @returns {Map<string | null, Message[]>} by parent, oldest first */
export function childrenOf(messages) {
  /** @type {Map<string | null, Message[]>} */ const children = new Map();
  const known = new Set(messages.map((message) => message.id));
  for (const message of messages) {
    // A parent that is not there (deleted, or not imported) makes it a beginning, so that nothing vanishes.
    const parent = message.parent_id !== null && known.has(message.parent_id) ? message.parent_id : null;
    const siblings = children.get(parent);
    if (siblings) siblings.push(message);
    else children.set(parent, [message]);
  }
  return children;
}

/**
 * The shown branch from its first message to its last: at each fork the chosen sibling, else the newest.
 * @param {readonly Message[]} messages
 * @param {Readonly<Record<string, string>>} chosen parent id ("" for none) to the id of its shown child
 */
export function shownPath(messages, chosen) {
  const children = childrenOf(messages);
  /** @type {{message: Message, siblings: string[]}[]} */ const path = [];
  /** @type {string | null} */ let parent = null;
  for (;;) {
    /** @type {Message[] | undefined} */ const siblings = children.get(parent);
    if (siblings === undefined || path.length > messages.length) return path;
    /** @type {string | undefined} */ const choice = chosen[parent ?? ""];
    /** @type {Message} */ const message = siblings.find((each) => each.id === choice) ?? siblings[siblings.length - 1];
    path.push({ message, siblings: siblings.map((each) => each.id) });
    parent = message.id;
  }
}
