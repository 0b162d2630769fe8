// @ts-check
/** All stores, put together. None of them knows of the page; components read them and call their methods. */

import { Http } from "../engine/http.js";
import { RemoteEngine } from "../engine/remote.js";
import { RemoteRepository } from "../engine/repository.js";
import { Language } from "../i18n/language.js";
import { LocalStorage } from "../lib/storage.js";
import { computed, effect, untracked } from "../kernel/signal.js";
import { Announcer } from "./announcer.js";
import { Chat } from "./chat.js";
import { Connection } from "./connection.js";
import { Conversations } from "./conversations.js";
import { Inspector } from "./inspector.js";
import { Notices } from "./notices.js";
import { Sampling } from "./sampling.js";
import { View } from "./view.js";

export class Stores {
  /** @param {readonly string[]} languages that the browser prefers */
  constructor(languages) {
    this.storage = new LocalStorage();
    this.language = new Language(this.storage, languages);
    this.text = this.language.text.bind(this.language);
    this.view = new View(this.storage);
    this.notices = new Notices();
    this.announcer = new Announcer();
    this.connection = new Connection(this.storage);
    const http = new Http(
      () => this.connection.key,
      () => this.connection.needsKey.set(true),
    );
    this.engine = new RemoteEngine(http);
    this.repository = new RemoteRepository(http);
    this.sampling = new Sampling(() => this.connection.capabilities());
    this.conversations = new Conversations(this.repository, this.storage);
    this.inspector = new Inspector(this);
    this.chat = new Chat(this);
    this.#loadWhenItAnswers();
  }

  /** Each time that the service is there again, what is shown is read again. */
  #loadWhenItAnswers() {
    const isThere = computed(() => this.connection.state() === "up" && this.connection.health() !== null);
    effect(() => {
      if (!isThere()) return;
      untracked(() => {
        void this.conversations.load();
        if (this.chat.reply.peek() === null) void this.chat.load();
      });
    });
  }
}
