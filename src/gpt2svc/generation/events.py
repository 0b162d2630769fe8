"""What a viewer of a generation receives, in this order: queued, started, token …, then one of done and error.

docs/architecture.md has the table. `id` is the cursor that a viewer comes back with: the token's number, one more than
the last for the terminal event, None for the two that are only sent to a viewer without a cursor.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from gpt2svc.persistence.records import GenerationRecord, TokenRecord


@dataclass(frozen=True, slots=True)
class Queued:
    """The reply is accepted and stored. `position` is how many replies wait before it (0: it is next)."""

    event: ClassVar[str] = "queued"
    id: ClassVar[None] = None

    generation_id: str
    conversation_id: str
    message_id: str  # the assistant's message that is being written
    user_message_id: str
    position: int
    prefix_text: str | None = None  # of a reply that is continued: what stands before its first token

    @property
    def data(self) -> dict[str, Any]:
        data: dict[str, Any] = {
            "generation_id": self.generation_id,
            "conversation_id": self.conversation_id,
            "message_id": self.message_id,
            "user_message_id": self.user_message_id,
            "position": self.position,
        }
        if self.prefix_text is not None:
            data["prefix_text"] = self.prefix_text
        return data


@dataclass(frozen=True, slots=True)
class Started:
    """The engine has read the prompt; the first token follows."""

    event: ClassVar[str] = "started"
    id: ClassVar[None] = None

    model: str
    model_revision: str
    prompt_tokens: int
    seed: int
    dropped_message_ids: tuple[str, ...]  # older messages of the path that are not in the prompt
    settings: Mapping[str, Any]  # complete

    @classmethod
    def from_record(cls, record: GenerationRecord) -> "Started":
        return cls(
            model=record.model,
            model_revision=record.model_revision,
            prompt_tokens=record.prompt_tokens,
            seed=record.seed,
            dropped_message_ids=record.dropped_message_ids,
            settings=record.settings,
        )

    @property
    def data(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "model_revision": self.model_revision,
            "prompt_tokens": self.prompt_tokens,
            "seed": self.seed,
            "dropped_message_ids": list(self.dropped_message_ids),
            "settings": dict(self.settings),
        }


@dataclass(frozen=True, slots=True)
class Token:
    """One token of the reply. `text` may be empty: a token inside a character, whose text comes with the last one."""

    event: ClassVar[str] = "token"

    id: int  # 1, 2, … without gaps
    text: str
    token_id: int
    logprobs: Mapping[str, Any] | None = None  # {"logprob": …, "top_logprobs": [{"token_id", "text", "logprob"}]}

    @classmethod
    def from_record(cls, record: TokenRecord) -> "Token":
        return cls(id=record.seq, text=record.text, token_id=record.token_id, logprobs=record.logprobs)

    def to_record(self) -> TokenRecord:
        return TokenRecord(seq=self.id, token_id=self.token_id, text=self.text, logprobs=self.logprobs)

    @property
    def data(self) -> dict[str, Any]:
        data: dict[str, Any] = {"text": self.text, "token_id": self.token_id}
        if self.logprobs is not None:
            data.update(self.logprobs)
        return data


@dataclass(frozen=True, slots=True)
class Done:
    """The reply is complete and stored, or was cancelled and what there was of it is stored."""

    event: ClassVar[str] = "done"

    id: int
    status: Literal["completed", "cancelled"]
    finish_reason: str | None  # "stop", "length"; "abort" when cancelled
    usage: Mapping[str, int]  # prompt_tokens, completion_tokens, total_tokens, cached_tokens
    timings: Mapping[str, float]  # seconds: queued, prefill, total; and tokens_per_second

    @property
    def data(self) -> dict[str, Any]:
        return {
            "status": self.status,
            "finish_reason": self.finish_reason,
            "usage": dict(self.usage),
            "timings": dict(self.timings),
        }


@dataclass(frozen=True, slots=True)
class Failed:
    """The reply ended early and not by the user's wish. `num_tokens` of its token events are kept."""

    event: ClassVar[str] = "error"

    id: int
    status: Literal["interrupted", "failed"]
    code: str  # stable, for programs: "worker_crashed", "server_stopped", "model_unavailable", "storage_full", …
    message: str  # for people
    usage: Mapping[str, int] | None
    num_tokens: int

    @property
    def data(self) -> dict[str, Any]:
        return {
            "status": self.status,
            "code": self.code,
            "message": self.message,
            "usage": dict(self.usage) if self.usage is not None else None,
            "num_tokens": self.num_tokens,
        }


Event = Queued | Started | Token | Done | Failed


def terminal_event(record: GenerationRecord) -> Done | Failed:
    """The last event of a generation that has ended, from its row."""
    identifier = record.last_seq + 1
    if record.status == "completed" or record.status == "cancelled":
        return Done(
            id=identifier,
            status=record.status,
            finish_reason=record.finish_reason,
            usage=record.usage or {},
            timings=record.timings or {},
        )
    return Failed(
        id=identifier,
        status="failed" if record.status == "failed" else "interrupted",
        code=record.error_code or record.status,
        message=record.error or "The reply was interrupted.",
        usage=record.usage,
        num_tokens=record.last_seq,
    )
