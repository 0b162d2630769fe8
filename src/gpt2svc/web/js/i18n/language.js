// @ts-check
/** All text and all numbers that people read, in the language they chose. */

import { computed, signal } from "../kernel/signal.js";
import { en } from "./en.js";
import { uk } from "./uk.js";

/** @type {Record<string, Record<string, string>>} */
const TEXTS = { en, uk };
/** @type {Record<string, string[]>} the plural forms, in the order in which texts have them */
const FORMS = { en: ["one", "other"], uk: ["one", "few", "many", "other"] };
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
   * The text of a key, with {name} replaced by `values.name`, and {name|…} by the form that this number asks for.
   * @param {string} key @param {Record<string, any>} [values]
   */
  text(key, values = {}) {
    return (TEXTS[this.code()][key] ?? key).replace(/\{(\w+)\|?([^}]*)\}/g, (/** @type {string} */ all, /** @type {string} */ name, /** @type {string} */ forms) => {
      const value = values[name];
      if (all.includes("|")) return forms.split("|")[FORMS[this.code()].indexOf(this.plural().select(value))];
      return typeof value === "number" ? this.number(value) : String(value ?? "");
    });
  }

  /** @param {string} key */
  has(key) {
    return key in TEXTS.en;
  }

  /** @param {number} value @param {number} [digits] after the point, no more and no less */
  number(value, digits) {
    if (digits === undefined) return this.numbers().format(value);
    return new Intl.NumberFormat(this.code(), { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);
  }

  /** @param {number} value of 1 */
  share(value) {
    return new Intl.NumberFormat(this.code(), { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 }).format(value);
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
