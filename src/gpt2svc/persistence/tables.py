"""The schema, as the newest migration leaves it."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, get_args

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Dialect,
    ForeignKey,
    Index,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from gpt2svc.persistence.ids import MAX_ID_LENGTH
from gpt2svc.persistence.records import ConversationKind, Role, Status

# Written out in the partial index and in the queries that should use it: SQLite does not match bound values with it.
IS_ACTIVE: Final = "status IN ('queued', 'generating')"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """Whole microseconds since 1970 in UTC: exact, sortable, and the same in every database."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else to_microseconds(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        return None if value is None else from_microseconds(value)


def to_microseconds(value: datetime) -> int:
    """Raises TypeError for a naive time."""
    return (value - _EPOCH) // timedelta(microseconds=1)


def from_microseconds(value: int) -> datetime:
    return _EPOCH + timedelta(microseconds=value)


def _one_of(column: str, values: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


class Base(DeclarativeBase):
    # NOTE: batch migrations drop constraints by name, so each one has a name that can be told in advance.
    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 (SQLAlchemy reads it from the class)
        datetime: UtcDateTime,
        Mapping[str, Any]: JSON(none_as_null=True),
        list[str]: JSON(none_as_null=True),
        int: BigInteger,
        str: Text,
    }


class ConversationRow(Base):
    __tablename__ = "conversations"
    __table_args__ = (
        CheckConstraint("num_messages >= 0", name="num_messages"),
        CheckConstraint(_one_of("kind", get_args(ConversationKind)), name="kind"),
        Index(None, "owner", "kind", "updated_at", "id"),
    )

    id: Mapped[str] = mapped_column(String(MAX_ID_LENGTH), primary_key=True)
    owner: Mapped[str]
    kind: Mapped[str] = mapped_column(String(16), server_default="chat")
    title: Mapped[str | None]
    title_folded: Mapped[str | None]  # for search: see stored_text.fold
    model: Mapped[str | None]
    settings: Mapped[Mapping[str, Any]]
    num_messages: Mapped[int]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class MessageRow(Base):
    __tablename__ = "messages"
    __table_args__ = (
        CheckConstraint(_one_of("role", get_args(Role)), name="role"),
        CheckConstraint(_one_of("status", get_args(Status)), name="status"),
        UniqueConstraint("conversation_id", "position"),
    )

    id: Mapped[str] = mapped_column(String(MAX_ID_LENGTH), primary_key=True)
    conversation_id: Mapped[str] = mapped_column(
        String(MAX_ID_LENGTH), ForeignKey("conversations.id", ondelete="CASCADE")
    )
    position: Mapped[int]  # creation order within the conversation, from 1
    # NOTE: no cascade along the chain: SQLite follows one only 1,000 levels deep, then refuses the delete.
    parent_id: Mapped[str | None] = mapped_column(String(MAX_ID_LENGTH), ForeignKey("messages.id"), index=True)
    role: Mapped[str] = mapped_column(String(16))
    content: Mapped[str]
    content_folded: Mapped[str]
    status: Mapped[str] = mapped_column(String(16))
    # No foreign key: a generation points back at its message, and both go with the conversation.
    generation_id: Mapped[str | None] = mapped_column(String(MAX_ID_LENGTH))
    settings: Mapped[Mapping[str, Any] | None]
    model: Mapped[str | None]
    model_revision: Mapped[str | None]
    usage: Mapped[Mapping[str, Any] | None]
    finish_reason: Mapped[str | None] = mapped_column(String(16))
    error: Mapped[str | None]
    created_at: Mapped[datetime]


class GenerationRow(Base):
    __tablename__ = "generations"
    __table_args__ = (
        CheckConstraint(_one_of("status", get_args(Status)), name="status"),
        CheckConstraint("last_seq >= 0", name="last_seq"),
        CheckConstraint("prompt_tokens >= 0", name="prompt_tokens"),
        # One active reply a conversation, also when two processes ask at once.
        Index(
            "uq_generations_active",
            "conversation_id",
            unique=True,
            sqlite_where=text(IS_ACTIVE),
            postgresql_where=text(IS_ACTIVE),
        ),
    )

    id: Mapped[str] = mapped_column(String(MAX_ID_LENGTH), primary_key=True)
    conversation_id: Mapped[str] = mapped_column(
        String(MAX_ID_LENGTH), ForeignKey("conversations.id", ondelete="CASCADE"), index=True
    )
    message_id: Mapped[str] = mapped_column(
        String(MAX_ID_LENGTH), ForeignKey("messages.id", ondelete="CASCADE"), index=True
    )
    status: Mapped[str] = mapped_column(String(16))
    owner: Mapped[str]
    model: Mapped[str]
    model_revision: Mapped[str]
    settings: Mapped[Mapping[str, Any]]
    seed: Mapped[int]
    prompt_tokens: Mapped[int]
    dropped_message_ids: Mapped[list[str]]
    last_seq: Mapped[int]
    usage: Mapped[Mapping[str, Any] | None]
    timings: Mapped[Mapping[str, Any] | None]
    finish_reason: Mapped[str | None] = mapped_column(String(16))
    error_code: Mapped[str | None]
    error: Mapped[str | None]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class TokenChunkRow(Base):
    """One flush window of token events; rows are only ever added."""

    __tablename__ = "token_chunks"

    generation_id: Mapped[str] = mapped_column(
        String(MAX_ID_LENGTH), ForeignKey("generations.id", ondelete="CASCADE"), primary_key=True
    )
    # Of its last event; 0 for the tokens of a reply that this one continues, which come before its first event.
    last_seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    events: Mapped[str]  # see token_chunk.py


class ResponseRow(Base):
    __tablename__ = "responses"

    id: Mapped[str] = mapped_column(String(MAX_ID_LENGTH), primary_key=True)
    owner: Mapped[str]
    conversation_id: Mapped[str] = mapped_column(
        String(MAX_ID_LENGTH), ForeignKey("conversations.id", ondelete="CASCADE"), unique=True
    )
    # No foreign keys: the generation goes with the conversation, and what came before may be deleted.
    generation_id: Mapped[str] = mapped_column(String(MAX_ID_LENGTH))
    previous_response_id: Mapped[str | None] = mapped_column(String(MAX_ID_LENGTH))
    input: Mapped[list[Any]] = mapped_column(JSON(none_as_null=True))  # see responses.py
    request: Mapped[Mapping[str, Any]]
    created_at: Mapped[datetime]


class ApiKeyRow(Base):
    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(MAX_ID_LENGTH), primary_key=True)
    name: Mapped[str]
    scopes: Mapped[list[str]]
    secret_hash: Mapped[str] = mapped_column(String(64), unique=True)  # SHA-256 in hex; the secret is kept nowhere
    change: Mapped[int] = mapped_column(unique=True)  # counts up over all keys: how a service hears of changes
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class IdempotencyKeyRow(Base):
    __tablename__ = "idempotency_keys"

    owner: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    body_hash: Mapped[str]
    conversation_id: Mapped[str] = mapped_column(
        String(MAX_ID_LENGTH), ForeignKey("conversations.id", ondelete="CASCADE"), index=True
    )
    # No foreign keys: the key is claimed before what it leads to is created, and all go with the conversation.
    user_message_id: Mapped[str] = mapped_column(String(MAX_ID_LENGTH))
    message_id: Mapped[str] = mapped_column(String(MAX_ID_LENGTH))
    generation_id: Mapped[str] = mapped_column(String(MAX_ID_LENGTH))
    created_at: Mapped[datetime] = mapped_column(index=True)
