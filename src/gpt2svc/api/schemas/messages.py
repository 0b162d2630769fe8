"""Messages on the wire."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field, Strict

from gpt2svc.api.schemas.settings import SettingsIn, SettingsOut
from gpt2svc.api.schemas.values import AS_INT, FilledText, RequestBody, Text
from gpt2svc.chat.text_input import MAX_CONTENT_LENGTH
from gpt2svc.chat.turn_request import ReplyCut
from gpt2svc.persistence.records import MessageRecord, Role, Status
from gpt2svc.persistence.unset import UNSET, Unset

MAX_ID_LENGTH = 64  # of one that is asked for: longer than any there is

TokenNumber = Annotated[int, Strict(), Field(ge=0, le=10_000_000), AS_INT]
Stream = Annotated[bool, Strict()] | None
STREAM: Any = Field(
    default=None, description="True: server-sent events. False: the whole reply as JSON. Left out: as `Accept` says."
)


class MessageCreate(RequestBody):
    content: FilledText = Field(max_length=MAX_CONTENT_LENGTH, description="What the user says.")
    settings: SettingsIn | None = Field(None, description="For this reply only, over the conversation's.")
    parent_id: Annotated[Text, Field(min_length=1, max_length=MAX_ID_LENGTH)] | None = Field(
        None,
        description="The message that this one follows. Left out: the newest one. Null: none, so that it begins a "
        "branch of its own.",
    )
    stream: Stream = STREAM

    @property
    def parent(self) -> str | Unset | None:
        return self.parent_id if "parent_id" in self.model_fields_set else UNSET


class ReplyAgain(RequestBody):
    """How another reply is to be made."""

    settings: SettingsIn | None = Field(default=None, description="For this reply only, over the conversation's.")
    stream: Stream = STREAM


class ReplyOn(RequestBody):
    """How a reply is to go on."""

    settings: SettingsIn | None = Field(
        default=None,
        description="Over those of the reply itself; `max_new_tokens` is the number of tokens to add at most.",
    )
    num_reply_tokens: TokenNumber | None = Field(
        default=None, description="Go on after so many of the reply's own tokens, in place of the whole of it."
    )
    next_token_id: TokenNumber | None = Field(default=None, description="Put this token there first.")
    stream: Stream = STREAM

    @property
    def cut(self) -> ReplyCut | None:
        if self.num_reply_tokens is None and self.next_token_id is None:
            return None
        return ReplyCut(self.num_reply_tokens, self.next_token_id)


class MessageEdit(RequestBody):
    content: FilledText = Field(max_length=MAX_CONTENT_LENGTH, description="The assistant's message as it should be.")


class UsageOut(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cached_tokens: int = Field(0, description="Prompt tokens that an earlier turn had left in the cache.")


class MessageOut(BaseModel):
    id: str
    conversation_id: str
    parent_id: str | None = Field(description="The message that it follows.")
    role: Role
    content: str = Field(description="Of a reply in progress: what is stored of it so far.")
    status: Status
    generation_id: str | None = Field(description="Of a reply: whose events show it, also while it is being written.")
    settings: SettingsOut | None = Field(description="Of a reply: exactly what it was made with.")
    model: str | None
    model_revision: str | None
    usage: UsageOut | None
    finish_reason: str | None = Field(description="`stop`, `length`, `abort` or `error`, once the reply has ended.")
    error: str | None = Field(description="Why the reply ended early.")
    created_at: datetime

    @classmethod
    def of(cls, record: MessageRecord) -> "MessageOut":
        return cls(
            id=record.id,
            conversation_id=record.conversation_id,
            parent_id=record.parent_id,
            role=record.role,
            content=record.content,
            status=record.status,
            generation_id=record.generation_id,
            settings=SettingsOut.of(record.settings) if record.settings is not None else None,
            model=record.model,
            model_revision=record.model_revision,
            usage=UsageOut.model_validate(record.usage) if record.usage is not None else None,
            finish_reason=record.finish_reason,
            error=record.error,
            created_at=record.created_at,
        )


class ReplyOut(MessageOut):
    """The assistant's message, whole, and what its prompt left out."""

    dropped_message_ids: list[str] = Field(description="Older messages that did not fit into the prompt.")

    @classmethod
    def with_dropped(cls, record: MessageRecord, dropped_message_ids: Sequence[str]) -> "ReplyOut":
        message = MessageOut.of(record)
        fields = {name: getattr(message, name) for name in MessageOut.model_fields}
        return cls(**fields, dropped_message_ids=list(dropped_message_ids))
