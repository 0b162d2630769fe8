// @ts-check
/**
 * What the page talks to, behind two small interfaces: an Engine writes replies, a Repository keeps conversations.
 * Both are the service today; the browser itself can stand in for either.
 *
 * @typedef {Record<string, any>} Settings
 *
 * @typedef {object} Conversation
 * @property {string} id
 * @property {string | null} title
 * @property {string | null} model
 * @property {Settings} settings
 * @property {number} num_messages
 * @property {string} created_at
 * @property {string} updated_at
 *
 * @typedef {{prompt_tokens: number, completion_tokens: number, total_tokens: number, cached_tokens: number}} Usage
 *
 * @typedef {object} Message
 * @property {string} id
 * @property {string} conversation_id
 * @property {string | null} parent_id
 * @property {"user" | "assistant"} role
 * @property {string} content
 * @property {"queued" | "generating" | "completed" | "cancelled" | "interrupted" | "failed"} status
 * @property {string | null} generation_id
 * @property {Settings | null} settings
 * @property {string | null} model
 * @property {Usage | null} usage
 * @property {string | null} finish_reason
 * @property {string | null} error
 * @property {string} created_at
 *
 * @typedef {object} MessageTokens what the model read for a reply, and wrote
 * @property {string} model
 * @property {string} model_revision
 * @property {number} n_positions
 * @property {number | null} eos_token_id
 * @property {string} prompt
 * @property {number[]} prompt_token_ids
 * @property {string[]} dropped_message_ids
 * @property {number[]} reply_token_ids
 * @property {boolean} is_exact
 *
 * @typedef {{prompt?: string, model?: string, conversation_id?: string, message_id?: string, num_reply_tokens?: number}} Prefix
 *   a text, or so many tokens of a reply
 *
 * @typedef {object} Model
 * @property {string} id
 * @property {boolean} is_default
 * @property {string} status
 * @property {string} stage
 * @property {number | null} percent
 * @property {string | null} error
 * @property {number | null} num_parameters
 * @property {number | null} n_positions
 * @property {string | null} device
 *
 * @typedef {object} Health
 * @property {"ok" | "starting" | "degraded" | "draining"} status
 * @property {string} model
 * @property {Model[]} models
 * @property {Record<string, string | null>} versions
 *
 * @typedef {{event: string, seq: number | null, data: any}} GenerationEvent `seq` counts tokens
 *
 * @typedef {{minimum: number, maximum: number, isWhole: boolean, initial: number}} Limits of a setting
 *
 * @typedef {object} Capabilities what this service can do, by its own description
 * @property {Record<string, Limits>} limits
 * @property {boolean} regenerate
 * @property {boolean} resume continue a reply
 * @property {boolean} edit a reply
 * @property {boolean} inspect show the tokens of a reply
 * @property {boolean} transfer export and import
 *
 * @typedef {object} Engine
 * @property {() => Promise<Health>} health
 * @property {() => Promise<Model[]>} models
 * @property {() => Promise<Capabilities>} capabilities
 * @property {(path: string, body: object, options: StreamOptions & {key: string}) => AsyncGenerator<GenerationEvent>} begin
 * @property {(generationId: string, after: number, options: StreamOptions) => AsyncGenerator<GenerationEvent>} watch
 * @property {(generationId: string) => Promise<void>} cancel
 * @property {(generationId: string) => Promise<any>} generation
 * @property {(message: Message) => Promise<MessageTokens>} tokens
 * @property {(model: string) => Promise<readonly string[]>} vocabulary what each token stands for, by id
 * @property {(text: string, model?: string) => Promise<any>} textTokens those of a text, as if it were a prompt
 * @property {(prefix: Prefix, signal: AbortSignal) => Promise<Float32Array>} logits of the next token, by token id
 *
 * @typedef {{signal: AbortSignal, onBytes?: () => void, onAccepted?: (generationId: string) => void}} StreamOptions
 *
 * @typedef {object} Repository
 * @property {(query: {search?: string, cursor?: string | null}) => Promise<{data: Conversation[], next_cursor: string | null}>} list
 * @property {(fields: object) => Promise<Conversation>} create
 * @property {(id: string) => Promise<Conversation>} get
 * @property {(id: string, changes: object) => Promise<Conversation>} update
 * @property {(id: string) => Promise<void>} remove
 * @property {(id: string) => Promise<Message[]>} messages
 * @property {(id: string, messageId: string, content: string) => Promise<Message>} editReply
 * @property {(id: string | null, format: "json" | "txt") => Promise<Blob>} exportFile
 * @property {(file: string, isTrial: boolean) => Promise<any>} importFile
 */
export {};
