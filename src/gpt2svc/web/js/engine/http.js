// @ts-check
/** Requests to the service, and what can go wrong with them: two kinds of error, both with a stable code. */

/** The service was not reached, or the connection broke. */
export class NetworkError extends Error {
  code = "network";
}

/** The service answered with an error. `param` names the field at fault; `retryAfter` is in seconds. */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {{message?: string, code?: string, param?: string | null}} error
   * @param {number | null} retryAfter
   */
  constructor(status, error, retryAfter) {
    super(error.message ?? `HTTP ${status}`);
    this.status = status;
    this.code = error.code ?? `http_${status}`;
    this.param = error.param ?? null;
    this.retryAfter = retryAfter;
  }
}

/**
 * `body` is sent as JSON, `file` as it is.
 * @typedef {{body?: unknown, file?: string, headers?: Record<string, string>, signal?: AbortSignal}} RequestOptions
 */

export class Http {
  /** @type {() => string | null} */ #key;
  /** @type {() => void} */ #onRefusedKey;

  /** @param {() => string | null} key the API key @param {() => void} onRefusedKey */
  constructor(key, onRefusedKey) {
    this.#key = key;
    this.#onRefusedKey = onRefusedKey;
  }

  /**
   * @param {string} method
   * @param {string} path relative to the page, so that a proxy may put the service below a folder
   * @param {RequestOptions} [options]
   * @returns {Promise<Response>} a good one
   */
  async request(method, path, options = {}) {
    /** @type {Record<string, string>} */ const headers = { ...options.headers };
    const key = this.#key();
    if (key !== null) headers["Authorization"] = `Bearer ${key}`;
    const content = options.file ?? (options.body === undefined ? undefined : JSON.stringify(options.body));
    if (content !== undefined) headers["Content-Type"] ??= "application/json";
    /** @type {Response} */ let response;
    try {
      response = await fetch(path, {
        method,
        headers,
        signal: options.signal,
        body: content,
        credentials: "same-origin",
        cache: "no-store",
      });
    } catch (error) {
      if (options.signal?.aborted) throw error;
      throw new NetworkError("The service can't be reached.", { cause: error });
    }
    if (response.ok) return response;
    throw await this.#refusal(response);
  }

  /** @param {Response} response */
  async #refusal(response) {
    /** @type {any} */ let body = null;
    try {
      body = await response.json();
    } catch {
      // A proxy's error page, say: the status has to do.
    }
    // A gateway without its service behind it is the same to us as no answer at all.
    if (body === null && [502, 503, 504].includes(response.status)) {
      return new NetworkError(`HTTP ${response.status}`);
    }
    if (response.status === 401) this.#onRefusedKey();
    const after = Number.parseFloat(response.headers.get("Retry-After") ?? "");
    return new ApiError(response.status, body?.error ?? {}, Number.isFinite(after) ? after : null);
  }

  /**
   * @param {string} method @param {string} path
   * @param {RequestOptions} [options]
   * @returns {Promise<any>}
   */
  async json(method, path, options) {
    const response = await this.request(method, path, options);
    if (response.status === 204) return null;
    try {
      return await response.json();
    } catch (error) {
      throw new NetworkError("The answer was cut.", { cause: error });
    }
  }
}
