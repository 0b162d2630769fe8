// @ts-check
/** The service as a Repository. */

/** @typedef {import("./types.js").Repository} Repository */

/** @implements {Repository} */
export class RemoteRepository {
  /** @param {import("./http.js").Http} http */
  constructor(http) {
    this.http = http;
  }

  /** @param {{search?: string, cursor?: string | null}} query */
  list({ search = "", cursor = null }) {
    const query = new URLSearchParams({ limit: "50" });
    if (search !== "") query.set("search", search);
    if (cursor !== null) query.set("cursor", cursor);
    return this.http.json("GET", `api/conversations?${query}`);
  }

  /** @param {object} fields */
  create(fields) {
    return this.http.json("POST", "api/conversations", { body: fields });
  }

  /** @param {string} id */
  get(id) {
    return this.http.json("GET", this.#path(id));
  }

  /** @param {string} id @param {object} changes */
  update(id, changes) {
    return this.http.json("PATCH", this.#path(id), { body: changes });
  }

  /** @param {string} id */
  async remove(id) {
    await this.http.json("DELETE", this.#path(id));
  }

  /** All of them, oldest first. @param {string} id */
  async messages(id) {
    /** @type {import("./types.js").Message[]} */ const messages = [];
    /** @type {string | null} */ let cursor = null;
    do {
      const query = cursor === null ? "" : `?${new URLSearchParams({ cursor })}`;
      const page = await this.http.json("GET", `${this.#path(id)}/messages${query}`);
      messages.push(...page.data);
      cursor = page.next_cursor;
    } while (cursor !== null);
    return messages;
  }

  /** @param {string} id @param {string} messageId @param {string} content */
  editReply(id, messageId, content) {
    return this.http.json("POST", `${this.#path(id)}/messages/${encodeURIComponent(messageId)}/edit`, {
      body: { content },
    });
  }

  /**
   * @param {string | null} id null for all conversations
   * @param {"json" | "txt"} format
   */
  async exportFile(id, format) {
    const query = new URLSearchParams({ format, ...(id === null ? {} : { conversation_id: id }) });
    return (await this.http.request("GET", `api/export?${query}`)).blob();
  }

  /** @param {string} file of an export @param {boolean} isTrial only say what would happen */
  importFile(file, isTrial) {
    const headers = { "Content-Type": file.trimStart().startsWith("{") ? "application/json" : "text/plain" };
    return this.http.json("POST", `api/import${isTrial ? "?dry_run=true" : ""}`, { file, headers });
  }

  /** @param {string} id */
  #path(id) {
    return `api/conversations/${encodeURIComponent(id)}`;
  }
}
