// @ts-check
/** Reactive values: a signal holds one, a computed derives one, an effect runs again when what it read has changed. */

/**
 * @template T
 * @typedef {{(): T, peek(): T, set(value: T): void, update(change: (value: T) => T): void}} Signal
 */
/** @template T @typedef {{(): T, peek(): T}} Computed */

/** @typedef {{version: number, observers: Set<Node>, refresh(): void}} Source */
/** @typedef {{sources: Map<Source, number>, stale(): void}} Node */
/** @typedef {{disposals: Array<() => void>}} Scope */

/** @type {Node | null} */ let observer = null;
/** @type {Scope | null} */ let scope = null;
/** @type {Set<() => void>} */ const pending = new Set();
let depth = 0;

/** @param {Source} source */
function track(source) {
  if (observer === null) return;
  source.observers.add(observer);
  if (!observer.sources.has(source)) observer.sources.set(source, source.version);
}

/** @param {Node} node */
function forget(node) {
  for (const source of node.sources.keys()) source.observers.delete(node);
  node.sources.clear();
}

/** @param {Node} node */
function hasChanged(node) {
  for (const [source, version] of node.sources) {
    source.refresh();
    if (source.version !== version) return true;
  }
  return false;
}

/**
 * Run `work` with other surroundings, which are put back whatever happens.
 * @template T
 * @param {Node | null} node @param {Scope | null} owner @param {() => T} work
 */
function within(node, owner, work) {
  const before = [observer, scope];
  observer = node;
  scope = owner;
  try {
    return work();
  } finally {
    observer = /** @type {Node | null} */ (before[0]);
    scope = /** @type {Scope | null} */ (before[1]);
  }
}

/**
 * Effects run once at the end of the outermost batch.
 * @template T
 * @param {() => T} work
 * @returns {T}
 */
export function batch(work) {
  depth += 1;
  try {
    return work();
  } finally {
    depth -= 1;
    if (depth === 0) flush();
  }
}

function flush() {
  depth += 1;
  try {
    // A set in the order of insertion: what effects add while they run comes later in the same loop.
    for (const run of pending) {
      pending.delete(run);
      run();
    }
  } finally {
    depth -= 1;
  }
}

/**
 * @template T
 * @param {T} value
 * @returns {Signal<T>}
 */
export function signal(value) {
  /** @type {Source} */
  const source = { version: 0, observers: new Set(), refresh() {} };
  const read = /** @type {Signal<T>} */ (
    () => {
      track(source);
      return value;
    }
  );
  read.peek = () => value;
  read.set = (next) => {
    if (Object.is(next, value)) return;
    value = next;
    source.version += 1;
    batch(() => {
      for (const node of [...source.observers]) node.stale();
    });
  };
  read.update = (change) => read.set(change(value));
  return read;
}

/**
 * @template T
 * @param {() => T} derive
 * @returns {Computed<T>}
 */
export function computed(derive) {
  let isStale = true;
  let isNew = true;
  /** @type {T} */ let value;
  /** @type {Source & Node} */
  const node = {
    version: 0,
    observers: new Set(),
    sources: new Map(),
    stale() {
      if (isStale) return;
      isStale = true;
      for (const dependent of [...node.observers]) dependent.stale();
    },
    refresh() {
      if (!isStale) return;
      if (isNew || hasChanged(node)) {
        forget(node);
        const next = within(node, null, derive);
        if (isNew || !Object.is(next, value)) {
          value = next;
          node.version += 1;
        }
        isNew = false;
      }
      isStale = false;
    },
  };
  const read = /** @type {Computed<T>} */ (
    () => {
      node.refresh();
      track(node);
      return value;
    }
  );
  read.peek = () => untracked(read);
  return read;
}

/**
 * Run `work` now, and again after each change of what it read. It belongs to the surrounding scope or effect.
 * @param {() => void} work
 * @returns {() => void} ends it
 */
export function effect(work) {
  /** @type {Scope} */ const own = { disposals: [] };
  let isOver = false;
  /** @type {Node} */
  const node = { sources: new Map(), stale: () => void pending.add(run) };
  function run() {
    if (isOver || (node.sources.size > 0 && !hasChanged(node))) return;
    end();
    within(node, own, work);
  }
  function end() {
    forget(node);
    for (const dispose of own.disposals.splice(0).reverse()) dispose();
  }
  function stop() {
    isOver = true;
    end();
  }
  scope?.disposals.push(stop);
  batch(run);
  return stop;
}

/**
 * A scope of its own: everything made within ends when the returned function is called.
 * @param {() => void} work
 */
export function root(work) {
  /** @type {Scope} */ const own = { disposals: [] };
  within(null, own, work);
  return () => {
    for (const dispose of own.disposals.splice(0).reverse()) dispose();
  };
}

/** @param {() => void} dispose */
export function onDispose(dispose) {
  scope?.disposals.push(dispose);
}

/**
 * Read without becoming dependent.
 * @template T
 * @param {() => T} work
 * @returns {T}
 */
export function untracked(work) {
  return within(null, scope, work);
}
