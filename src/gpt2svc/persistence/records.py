"""Rows as the rest of the package sees them: frozen, detached from any session, times in UTC."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

Role = Literal["user", "assistant", "system"]
Status = Literal["queued", "generating", "completed", "cancelled", "interrupted", "failed"]

# Of a conversation: one that users have, or the unseen place of a response of /v1/responses and its reply.
ConversationKind = Literal["chat", "response"]
InputRole = Literal["system", "developer", "user", "assistant"]

Scope = Literal["chat", "admin"]  # what an API key is for: talking to models; looking after the service

T = TypeVar("T")

ACTIVE_STATUSES: frozenset[Status] = frozenset({"queued", "generating"})
SCOPES: tuple[Scope, ...] = ("chat", "admin")
TERMINAL_STATUSES: frozenset[Status] = frozenset({"completed", "cancelled", "interrupted", "failed"})


@dataclass(frozen=True, slots=True)
class ConversationRecord:
    id: str  # "conv_…"
    title: str | None  # None until the first message gives one
    model: str | None  # None: the service's default model
    settings: Mapping[str, Any]  # only what was set; the rest are the defaults of the day
    owner: str  # "" without keys
    created_at: datetime
    updated_at: datetime  # of the last message or change
    num_messages: int = 0


@dataclass(frozen=True, slots=True)
class MessageRecord:
    id: str  # "msg_…"
    conversation_id: str
    parent_id: str | None  # the message that it follows: conversations are trees
    role: Role
    content: str
    status: Status
    generation_id: str | None  # of an assistant's message
    settings: Mapping[str, Any] | None  # frozen, complete, with the seed: of an assistant's message
    model: str | None
    model_revision: str | None
    usage: Mapping[str, int] | None  # prompt_tokens, completion_tokens, total_tokens, cached_tokens
    finish_reason: str | None
    error: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class GenerationRecord:
    """A durable reply in the making or made; its text grows in `chunks`, whose events a viewer replays."""

    id: str  # "gen_…"
    conversation_id: str
    message_id: str  # the assistant's message that it writes
    status: Status
    owner: str
    model: str
    model_revision: str
    settings: Mapping[str, Any]  # complete, with the seed
    seed: int
    prompt_tokens: int
    dropped_message_ids: tuple[str, ...]
    last_seq: int  # number of the last token event kept
    usage: Mapping[str, int] | None
    timings: Mapping[str, float] | None  # seconds: queued, prefill (to the first token), total; tokens_per_second
    finish_reason: str | None
    error_code: str | None
    error: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """One token event of the log. `seq` counts from 1; `text` may be empty (a token inside a character)."""

    seq: int
    token_id: int
    text: str
    logprobs: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A slice of a list; `next_cursor` is opaque and None on the last page."""

    items: tuple[T, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class GenerationResult:
    """How a generation ended: written once, in one transaction with the message's text."""

    status: Status
    finish_reason: str | None
    text: str
    usage: Mapping[str, int]
    timings: Mapping[str, float]
    error_code: str | None = None
    error: str | None = None
    new_tokens: tuple[TokenRecord, ...] = field(default=())  # events that were not flushed yet


@dataclass(frozen=True, slots=True)
class InputItem:
    """One message of a response's input, as it was sent."""

    id: str  # "msg_…"
    role: InputRole
    content: str


@dataclass(frozen=True, slots=True)
class ResponseRecord:
    """What a response of /v1/responses was asked with. Its reply is the generation's."""

    id: str  # "resp_…"
    owner: str
    conversation_id: str  # of the kind "response", and its own: it holds the reply
    generation_id: str
    previous_response_id: str | None
    input: tuple[InputItem, ...]
    request: Mapping[str, Any]  # what the answer repeats of the request and no other table holds
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ChainLink:
    """A response that another one follows, and what became of it."""

    response: ResponseRecord
    reply_id: str  # of the assistant's message
    reply_status: Status
    reply_text: str


@dataclass(frozen=True, slots=True)
class ApiKeyRecord:
    """Who may use the service. Its id is the `owner` of what it creates."""

    id: str  # "key_…"
    name: str  # for people
    scopes: tuple[Scope, ...]
    secret_hash: str  # SHA-256 in hex
    created_at: datetime
    revoked_at: datetime | None  # None: it is in force


@dataclass(frozen=True, slots=True)
class IdempotencyRecord:
    """What a request with an Idempotency-Key led to."""

    owner: str
    key: str
    body_hash: str
    conversation_id: str
    user_message_id: str
    message_id: str  # the assistant's
    generation_id: str
    created_at: datetime
