// @ts-check
/** All text and all numbers that people read, in the language they chose. */

import { computed, signal } from "../kernel/signal.js";
import { en } from "./en.js";
import { uk } from "./uk.js";

/** @typedef {string | {zero?: string, one?: string, few?: string, many?: string, other: string}} Text plural: by `count` */

/** @type {Record<string, Record<string, Text>>} */
const TEXTS = { en, uk };
export const LANGUAGES = Object.keys(TEXTS);
const DAY_MS = 86_400_000;

export class Language {
  /**
   * @param {import("../lib/storage.js").LocalStorage} storage
   * @param {readonly string[]} preferred by the browser, best first
   */
  constructor(storage, preferred) {
    this.storage = storage;
    const wanted = [storage.get("language"), ...preferred.map((tag) => tag.slice(0, 2).toLowerCase())];
    this.code = signal(wanted.find((code) => LANGUAGES.includes(code)) ?? "en");
    this.plural = computed(() => new Intl.PluralRules(this.code()));
    this.numbers = computed(() => new Intl.NumberFormat(this.code(), { maximumFractionDigits: 2 }));
    this.compact = computed(() => new Intl.NumberFormat(this.code(), { notation: "compact", maximumFractionDigits: 1 }));
  }

  /** @param {string} code */
  use(code) {
    this.code.set(code);
    this.storage.set("language", code);
  }

  /**
   * The text of a key, with {name} replaced by `values.name`, and the form that `values.count` asks for.
   * @param {string} key @param {Record<string, any>} [values]
   */
  text(key, values = {}) {
    const text = TEXTS[this.code()][key] ?? TEXTS.en[key];
    if (text === undefined) return key;
    const form = typeof text === "string" ? text : this.#form(text, values.count);
    return form.replace(/\{(\w+)\}/g, (/** @type {string} */ _, /** @type {string} */ name) => this.#value(values[name]));
  }

  /** @param {string} key */
  has(key) {
    return key in TEXTS.en;
  }

  /** @param {Exclude<Text, string>} text @param {number} count */
  #form(text, count) {
    if (count === 0 && text.zero !== undefined) return text.zero;
    return text[/** @type {"one"} */ (this.plural().select(count))] ?? text.other;
  }

  /** @param {any} value */
  #value(value) {
    return typeof value === "number" ? this.numbers().format(value) : String(value ?? "");
  }

  /** @param {number} value @param {number} [digits] after the point, no more and no less */
  number(value, digits) {
    if (digits === undefined) return this.numbers().format(value);
    return new Intl.NumberFormat(this.code(), { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);
  }

  /** The group that a conversation of that time stands in. @param {string} iso */
  day(iso) {
    const then = new Date(iso);
    const days = Math.round((midnight(new Date()) - midnight(then)) / DAY_MS);
    if (days <= 1) {
      return capital(new Intl.RelativeTimeFormat(this.code(), { numeric: "auto" }).format(-Math.max(0, days), "day"));
    }
    const isThisYear = then.getFullYear() === new Date().getFullYear();
    /** @type {Intl.DateTimeFormatOptions} */
    const options = days < 7 ? { weekday: "long" } : { day: "numeric", month: "long", ...(isThisYear ? {} : { year: "numeric" }) };
    return capital(new Intl.DateTimeFormat(this.code(), options).format(then));
  }

  /** @param {string} iso */
  moment(iso) {
    return new Intl.DateTimeFormat(this.code(), { dateStyle: "medium", timeStyle: "short" }).format(new Date(iso));
  }

  /** What an error means, what is safe, and what to do: by its code, else in the service's own words. @param {any} error */
  problem(error) {
    const key = `error.${error?.code}`;
    if (this.has(key)) return this.text(key, { seconds: error.retryAfter ?? 0 });
    return this.text("error.other", { message: error?.message ?? "" });
  }
}

/** @param {Date} date */
function midnight(date) {
  return new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
}

/** @param {string} text */
function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
