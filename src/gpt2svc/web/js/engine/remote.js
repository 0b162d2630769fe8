// @ts-check
/** The service as an Engine. */

import { readEvents } from "../lib/sse.js";
import { NetworkError } from "./http.js";

/** @typedef {import("./types.js").GenerationEvent} GenerationEvent */
/** @typedef {import("./types.js").StreamOptions} StreamOptions */
/** @typedef {import("./types.js").Engine} Engine */

const STREAM = { Accept: "text/event-stream" };

/** @implements {Engine} */
export class RemoteEngine {
  /** @param {import("./http.js").Http} http */
  constructor(http) {
    this.http = http;
  }

  health() {
    return this.http.json("GET", "api/health");
  }

  async models() {
    return (await this.http.json("GET", "api/models")).data;
  }

  /** From the service's own description, so that limits and features stand in one place. */
  async capabilities() {
    const page = await this.http.json("GET", "openapi.json");
    const message = "/api/conversations/{conversation_id}/messages/{message_id}";
    /** @param {string} path */
    const has = (path) => path in page.paths;
    return {
      limits: limitsOf(page.components.schemas.SettingsIn.properties),
      regenerate: has(`${message}/regenerate`),
      resume: has(`${message}/continue`),
      edit: has(`${message}/edit`),
      inspect: has(`${message}/tokens`),
      transfer: has("/api/export") && has("/api/import"),
    };
  }

  /**
   * Ask for a reply. Sent again with the same key it brings the same reply, so a lost answer can be asked for again.
   * @param {string} path @param {object} body @param {StreamOptions & {key: string}} options
   * @returns {AsyncGenerator<GenerationEvent>}
   */
  async *begin(path, body, options) {
    const headers = { ...STREAM, "Idempotency-Key": options.key };
    const response = await this.http.request("POST", path, { body, headers, signal: options.signal });
    const accepted = response.headers.get("Location")?.split("/").pop();
    if (accepted) options.onAccepted?.(accepted);
    yield* generationEvents(response, options);
  }

  /**
   * What comes after token `after`. Ends without a terminal event where the connection was cut.
   * @param {string} generationId @param {number} after @param {StreamOptions} options
   * @returns {AsyncGenerator<GenerationEvent>}
   */
  async *watch(generationId, after, options) {
    /** @type {Record<string, string>} */ const headers = { ...STREAM };
    if (after > 0) headers["Last-Event-ID"] = String(after);
    const path = `api/generations/${encodeURIComponent(generationId)}/events`;
    yield* generationEvents(await this.http.request("GET", path, { headers, signal: options.signal }), options);
  }

  /** @param {string} generationId */
  async cancel(generationId) {
    await this.http.json("POST", `api/generations/${encodeURIComponent(generationId)}/cancel`);
  }

  /** @param {string} generationId */
  generation(generationId) {
    return this.http.json("GET", `api/generations/${encodeURIComponent(generationId)}`);
  }

  /** @param {import("./types.js").Message} message */
  tokens({ conversation_id, id }) {
    return this.http.json("GET", `api/conversations/${encodeURIComponent(conversation_id)}/messages/${encodeURIComponent(id)}/tokens`);
  }

  /** @param {string} model */
  async vocabulary(model) {
    return (await this.http.json("GET", `api/vocabulary?${new URLSearchParams({ model })}`)).tokens;
  }

  /** A text as a prompt. @param {string} prompt @param {string} [model] */
  async textTokens(prompt, model) {
    const { tokens } = await this.http.json("POST", "tokenize", { body: { prompt, model, parse_special: false } });
    return { prompt, model, prompt_token_ids: tokens, reply_token_ids: [], eos_token_id: null };
  }

  /** Of all tokens, after a prefix. @param {import("./types.js").Prefix} prefix @param {AbortSignal} signal */
  async logits(prefix, signal) {
    const response = await this.http.request("POST", "api/next-token", { body: { ...prefix, full: true }, signal });
    const normalizer = Number(response.headers.get("X-Log-Normalizer"));
    return new Float32Array(await response.arrayBuffer()).map((each) => each + normalizer);
  }
}

/** @param {Response} response @param {StreamOptions} options @returns {AsyncGenerator<GenerationEvent>} */
async function* generationEvents(response, options) {
  try {
    for await (const { event, id, data } of readEvents(response, options.onBytes)) {
      yield { event, seq: id === null ? null : Number(id), data: JSON.parse(data) };
    }
  } catch (error) {
    if (options.signal.aborted) throw error;
    throw new NetworkError("The stream was cut.", { cause: error });
  }
}

/** @param {Record<string, any>} properties of the settings' schema @returns {Record<string, import("./types.js").Limits>} */
function limitsOf(properties) {
  /** @type {Record<string, import("./types.js").Limits>} */ const limits = {};
  for (const [name, property] of Object.entries(properties)) {
    const number = (property.anyOf ?? []).find((/** @type {any} */ each) => "minimum" in each && "maximum" in each);
    const initial = property.examples?.[0];
    if (number === undefined || typeof initial !== "number") continue;
    limits[name] = {
      minimum: number.minimum,
      maximum: number.maximum,
      isWhole: number.type === "integer",
      initial,
    };
  }
  return limits;
}
