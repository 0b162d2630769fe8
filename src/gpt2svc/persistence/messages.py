"""Messages in the store: each conversation holds a tree of them, in creation order."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import RowMapping, func, insert, literal, select, update
from sqlalchemy.orm import aliased

from gpt2svc.errors import NotFoundError
from gpt2svc.persistence.connection import Connection
from gpt2svc.persistence.conversations import now_or_later
from gpt2svc.persistence.ids import IdGenerator
from gpt2svc.persistence.page_cursor import check_limit, decode_cursor, encode_cursor
from gpt2svc.persistence.records import MessageRecord, Page, Role, Status
from gpt2svc.persistence.stored_text import check_json, check_text, fold
from gpt2svc.persistence.tables import ConversationRow, MessageRow

_COLUMNS: Final = tuple(
    column for column in MessageRow.__table__.c if column.name not in ("content_folded", "position")
)


class MessageRepository:
    """Owners are checked on the conversation: get that first."""

    def __init__(self, connection: Connection, clock: Callable[[], datetime], ids: IdGenerator) -> None:
        self._connection = connection
        self._clock = clock
        self._ids = ids

    async def create(
        self,
        *,
        conversation_id: str,
        role: Role,
        content: str,
        parent_id: str | None = None,
        status: Status = "completed",
        message_id: str | None = None,
        generation_id: str | None = None,
        settings: Mapping[str, Any] | None = None,
        model: str | None = None,
        model_revision: str | None = None,
    ) -> MessageRecord:
        """Add a message after `parent_id` (None: a root); counts it in the conversation and touches that.

        `message_id` is made here when it is not given. Raises NotFoundError (conversation; message, when the parent is
        not in this conversation) and InvalidInputError (NUL or a lone surrogate in a text).
        """
        check_text("content", content)
        check_text("model", model)
        check_json("settings", settings)
        now = self._clock()
        counted = (
            update(ConversationRow)
            .where(ConversationRow.id == conversation_id)
            .values(num_messages=ConversationRow.num_messages + 1, updated_at=now_or_later(now))
        )
        if (await self._connection.execute(counted)).rowcount == 0:
            raise NotFoundError("conversation", conversation_id)
        if parent_id is not None:
            await self.get(parent_id, conversation_id)
        next_position = (
            select(func.coalesce(func.max(MessageRow.position), 0) + 1)
            .where(MessageRow.conversation_id == conversation_id)
            .scalar_subquery()
        )
        statement = insert(MessageRow).values(
            id=message_id if message_id is not None else self._ids.new_message_id(),
            conversation_id=conversation_id,
            position=next_position,
            parent_id=parent_id,
            role=role,
            content=content,
            content_folded=fold(content),
            status=status,
            generation_id=generation_id,
            settings=None if settings is None else dict(settings),
            model=model,
            model_revision=model_revision,
            created_at=now,
        )
        result = await self._connection.execute(statement.returning(*_COLUMNS))
        return _record(result.mappings().one())

    async def get(self, message_id: str, conversation_id: str) -> MessageRecord:
        """Raises NotFoundError, also when the message is in another conversation."""
        statement = select(*_COLUMNS).where(MessageRow.id == message_id, MessageRow.conversation_id == conversation_id)
        row = (await self._connection.execute(statement)).mappings().one_or_none()
        if row is None:
            raise NotFoundError("message", message_id)
        return _record(row)

    async def list(self, conversation_id: str, *, cursor: str | None = None, limit: int = 50) -> Page[MessageRecord]:
        """Every message of the conversation, all branches, oldest first; InvalidInputError as in conversations."""
        check_limit(limit)
        statement = select(*_COLUMNS, MessageRow.position).where(MessageRow.conversation_id == conversation_id)
        if cursor is not None:
            (position,) = decode_cursor(cursor, int)
            statement = statement.where(MessageRow.position > position)
        statement = statement.order_by(MessageRow.position).limit(limit + 1)
        rows = (await self._connection.execute(statement)).mappings().all()
        next_cursor = encode_cursor(rows[limit - 1]["position"]) if len(rows) > limit else None
        return Page(tuple(_record(row) for row in rows[:limit]), next_cursor)

    async def path_to(self, message_id: str) -> tuple[MessageRecord, ...]:
        """From the root to the message itself, along `parent_id`: the history that a prompt renders.

        Raises NotFoundError.
        """
        start = select(MessageRow.id, MessageRow.parent_id, literal(0).label("distance")).where(
            MessageRow.id == message_id
        )
        path = start.cte("path", recursive=True)
        parent = aliased(MessageRow)
        path = path.union_all(
            select(parent.id, parent.parent_id, path.c.distance + 1).join(path, parent.id == path.c.parent_id)
        )
        statement = select(*_COLUMNS).join(path, MessageRow.id == path.c.id).order_by(path.c.distance.desc())
        rows = (await self._connection.execute(statement)).mappings().all()
        if not rows:
            raise NotFoundError("message", message_id)
        return tuple(_record(row) for row in rows)

    async def last(self, conversation_id: str) -> MessageRecord | None:
        """The newest message, which the next one follows unless told otherwise; None in an empty conversation."""
        statement = (
            select(*_COLUMNS)
            .where(MessageRow.conversation_id == conversation_id)
            .order_by(MessageRow.position.desc())
            .limit(1)
        )
        row = (await self._connection.execute(statement)).mappings().one_or_none()
        return None if row is None else _record(row)

    async def set_result(
        self,
        message_id: str,
        *,
        status: Status,
        content: str,
        finish_reason: str | None = None,
        usage: Mapping[str, int] | None = None,
        error: str | None = None,
    ) -> MessageRecord:
        """Write what became of an assistant's message. `generations.finish` does this.

        Raises NotFoundError and InvalidInputError (NUL or a lone surrogate in a text).
        """
        check_text("content", content)
        check_text("error", error)
        statement = (
            update(MessageRow)
            .where(MessageRow.id == message_id)
            .values(
                status=status,
                content=content,
                content_folded=fold(content),
                finish_reason=finish_reason,
                usage=None if usage is None else dict(usage),
                error=error,
            )
        )
        row = (await self._connection.execute(statement.returning(*_COLUMNS))).mappings().one_or_none()
        if row is None:
            raise NotFoundError("message", message_id)
        return _record(row)

    async def set_status(self, message_id: str, status: Status) -> None:
        """Raises NotFoundError."""
        statement = update(MessageRow).where(MessageRow.id == message_id).values(status=status)
        if (await self._connection.execute(statement)).rowcount == 0:
            raise NotFoundError("message", message_id)


def _record(row: RowMapping) -> MessageRecord:
    return MessageRecord(**{column.name: row[column.name] for column in _COLUMNS})
