// @ts-check
/** The sampling settings of the shown conversation: what its user has changed, over the service's own defaults. */

import { computed, signal } from "../kernel/signal.js";

/** @typedef {import("../engine/types.js").Settings} Settings */

/** Where sliders end: comfortable ranges within the service's limits, which the number fields reach. */
export const RANGES = {
  temperature: { from: 0, to: 2, step: 0.05 },
  top_k: { from: 0, to: 200, step: 1 },
  top_p: { from: 0, to: 1, step: 0.01 },
  repetition_penalty: { from: 1, to: 2, step: 0.05 },
  max_new_tokens: { from: 1, to: 512, step: 1 },
  min_p: { from: 0, to: 0.5, step: 0.01 },
  typical_p: { from: 0.1, to: 1, step: 0.01 },
  presence_penalty: { from: -2, to: 2, step: 0.1 },
  frequency_penalty: { from: -2, to: 2, step: 0.1 },
  no_repeat_ngram_size: { from: 0, to: 10, step: 1 },
  min_new_tokens: { from: 0, to: 256, step: 1 },
};
export const MAIN_SETTINGS = ["temperature", "top_k", "top_p", "repetition_penalty", "max_new_tokens"];
export const MORE_SETTINGS = Object.keys(RANGES).filter((name) => !MAIN_SETTINGS.includes(name));

/** @type {Record<string, Settings>} */
export const PRESETS = {
  precise: { temperature: 0.3, top_k: 20, top_p: 0.8 },
  balanced: {},
  creative: { temperature: 1.1, top_k: 0, top_p: 0.95 },
};
const PRESET_SETTINGS = ["temperature", "top_k", "top_p"];
const NAMES = [...Object.keys(RANGES), "seed"];

export class Sampling {
  #given = signal(/** @type {Settings} */ ({}));
  /** The setting that the service refused, and its reason. */
  refused = signal(/** @type {{name: string, message: string} | null} */ (null));
  /** @type {(changes: Settings) => void} */ onChange = () => {};

  /** @param {() => (import("../engine/types.js").Capabilities | null)} capabilities */
  constructor(capabilities) {
    this.limits = computed(() => capabilities()?.limits ?? {});
    this.defaults = computed(() => {
      /** @type {Settings} */ const defaults = { seed: null };
      for (const [name, limit] of Object.entries(this.limits())) if (name in RANGES) defaults[name] = limit.initial;
      return defaults;
    });
    /** What differs from the defaults. */
    this.overrides = computed(() => {
      const defaults = this.defaults();
      const given = Object.entries(this.#given());
      return Object.fromEntries(
        given.filter(([name, value]) => NAMES.includes(name) && value !== null && value !== defaults[name]),
      );
    });
    this.values = computed(() => ({ ...this.defaults(), ...this.overrides() }));
    this.preset = computed(() => {
      const values = this.values();
      const match = Object.entries(PRESETS).find(([, preset]) =>
        PRESET_SETTINGS.every((name) => values[name] === (preset[name] ?? this.defaults()[name])),
      );
      return match?.[0] ?? null;
    });
  }

  /** Take over what a conversation has stored. @param {Settings} settings complete, or only what differs */
  load(settings) {
    this.refused.set(null);
    this.#given.set(settings);
  }

  /** @param {string} name @param {number | null} value null, or what is no number: the default again */
  set(name, value) {
    this.#change({ [name]: value });
  }

  /** @param {string} name of a preset */
  usePreset(name) {
    this.#change(Object.fromEntries(PRESET_SETTINGS.map((each) => [each, PRESETS[name][each] ?? null])));
  }

  reset() {
    this.#change(Object.fromEntries(Object.keys(this.overrides.peek()).map((name) => [name, null])));
  }

  /** @param {Settings} changes */
  #change(changes) {
    const next = { ...this.overrides.peek() };
    for (const [name, given] of Object.entries(changes)) {
      next[name] = given === null || !Number.isFinite(given) ? null : this.#within(name, given);
      if (this.refused.peek()?.name === name) this.refused.set(null);
    }
    this.#given.set(next);
    this.onChange(changes);
  }

  /** @param {string} name @param {number} value */
  #within(name, value) {
    if (name === "seed") return Math.min(Math.max(0, Math.round(value)), Number.MAX_SAFE_INTEGER);
    const limit = this.limits.peek()[name];
    if (limit === undefined) return value;
    const clipped = Math.min(limit.maximum, Math.max(limit.minimum, value));
    // 0.30000000000000004 is never shown, nor sent.
    return limit.isWhole ? Math.round(clipped) : Number(clipped.toFixed(3));
  }
}
