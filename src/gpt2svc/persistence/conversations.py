"""Conversations in the store."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, RowMapping, case, delete, exists, insert, literal, or_, select, tuple_, update

from gpt2svc.errors import InvalidInputError, NotFoundError
from gpt2svc.persistence.connection import Connection
from gpt2svc.persistence.ids import IdGenerator
from gpt2svc.persistence.page_cursor import check_limit, decode_cursor, encode_cursor
from gpt2svc.persistence.records import ConversationKind, ConversationRecord, Page
from gpt2svc.persistence.stored_text import check_json, check_text, fold
from gpt2svc.persistence.tables import ConversationRow, MessageRow, UtcDateTime, from_microseconds, to_microseconds
from gpt2svc.persistence.unset import UNSET, Unset

MAX_SEARCH_LENGTH: Final = 200  # characters: matching costs its length times the text's

_COLUMNS: Final = tuple(column for column in ConversationRow.__table__.c if column.name not in ("title_folded", "kind"))


class ConversationRepository:
    """Every method that takes an `owner` treats another owner's conversation as one that is not there, and so those of
    responses, which are no user's to see: `create` alone knows of their kind."""

    def __init__(self, connection: Connection, clock: Callable[[], datetime], ids: IdGenerator) -> None:
        self._connection = connection
        self._clock = clock
        self._ids = ids

    async def create(
        self,
        *,
        owner: str,
        title: str | None = None,
        model: str | None = None,
        settings: Mapping[str, Any] | None = None,
        kind: ConversationKind = "chat",
    ) -> ConversationRecord:
        """Raises InvalidInputError (NUL or a lone surrogate in a text)."""
        now = self._clock()
        values = {"owner": owner, "kind": kind, **_checked(title=title, model=model, settings=settings or {})}
        statement = insert(ConversationRow).values(
            id=self._ids.new_conversation_id(), num_messages=0, created_at=now, updated_at=now, **values
        )
        result = await self._connection.execute(statement.returning(*_COLUMNS))
        return _record(result.mappings().one())

    async def get(self, conversation_id: str, owner: str) -> ConversationRecord:
        """Raises NotFoundError."""
        result = await self._connection.execute(select(*_COLUMNS).where(*_is(conversation_id, owner)))
        return _found(result.mappings().one_or_none(), conversation_id)

    async def list(
        self, owner: str, *, cursor: str | None = None, limit: int = 20, search: str | None = None
    ) -> Page[ConversationRecord]:
        """Newest activity first. `search` finds text in titles and messages, whatever the case, also in Ukrainian.

        Raises InvalidInputError for a cursor that this method did not give out (field "cursor"), a limit outside
        1 to 1000 (field "limit") and a search of more than 200 characters (field "search").
        """
        check_limit(limit)
        statement = select(*_COLUMNS).where(ConversationRow.owner == owner, ConversationRow.kind == "chat")
        if cursor is not None:
            microseconds, last_id = decode_cursor(cursor, int, str)
            after = (_time(microseconds), last_id)
            statement = statement.where(tuple_(ConversationRow.updated_at, ConversationRow.id) < after)
        if search:
            statement = statement.where(_matches(search))
        statement = statement.order_by(ConversationRow.updated_at.desc(), ConversationRow.id.desc()).limit(limit + 1)
        rows = (await self._connection.execute(statement)).mappings().all()
        items = tuple(_record(row) for row in rows[:limit])
        has_more = len(rows) > limit
        next_cursor = encode_cursor(to_microseconds(items[-1].updated_at), items[-1].id) if has_more else None
        return Page(items, next_cursor)

    async def update(
        self,
        conversation_id: str,
        owner: str,
        *,
        title: str | Unset | None = UNSET,
        model: str | Unset | None = UNSET,
        settings: Mapping[str, Any] | Unset = UNSET,
    ) -> ConversationRecord:
        """Change what is given; `settings` replaces the whole mapping.

        Raises NotFoundError and InvalidInputError (NUL or a lone surrogate in a text).
        """
        statement = (
            update(ConversationRow)
            .where(*_is(conversation_id, owner))
            .values(updated_at=self._now_or_later(), **_checked(title=title, model=model, settings=settings))
        )
        result = await self._connection.execute(statement.returning(*_COLUMNS))
        return _found(result.mappings().one_or_none(), conversation_id)

    async def touch(self, conversation_id: str) -> None:
        """Set `updated_at` to now. Raises NotFoundError."""
        statement = (
            update(ConversationRow).where(ConversationRow.id == conversation_id).values(updated_at=self._now_or_later())
        )
        if (await self._connection.execute(statement)).rowcount == 0:
            raise NotFoundError("conversation", conversation_id)

    async def delete(self, conversation_id: str, owner: str) -> None:
        """With its messages, generations, their tokens and idempotency keys. Raises NotFoundError."""
        statement = delete(ConversationRow).where(*_is(conversation_id, owner))
        if (await self._connection.execute(statement)).rowcount == 0:
            raise NotFoundError("conversation", conversation_id)

    def _now_or_later(self) -> ColumnElement[datetime]:
        return now_or_later(self._clock())


def now_or_later(now: datetime) -> ColumnElement[datetime]:
    """For `updated_at`: never before what stands there, so that a clock set back does not bury a live conversation."""
    time = literal(now, UtcDateTime())  # NOTE: inside case() a bare value would not take the column's type
    return case((ConversationRow.updated_at < time, time), else_=ConversationRow.updated_at)


def _is(conversation_id: str, owner: str) -> tuple[ColumnElement[bool], ...]:
    return ConversationRow.id == conversation_id, ConversationRow.owner == owner, ConversationRow.kind == "chat"


def _matches(search: str) -> ColumnElement[bool]:
    check_text("search", search)
    if len(search) > MAX_SEARCH_LENGTH:
        raise InvalidInputError(f"search must have at most {MAX_SEARCH_LENGTH} characters.", field="search")
    folded = fold(search)
    is_in_messages = exists().where(
        MessageRow.conversation_id == ConversationRow.id,
        MessageRow.content_folded.contains(folded, autoescape=True),
    )
    return or_(ConversationRow.title_folded.contains(folded, autoescape=True), is_in_messages)


def _time(microseconds: int | str) -> datetime:
    try:
        return from_microseconds(int(microseconds))
    except OverflowError:
        raise InvalidInputError("The cursor is not one that this list gave out.", field="cursor") from None


def _checked(
    *,
    title: str | Unset | None,
    model: str | Unset | None,
    settings: Mapping[str, Any] | Unset,
) -> dict[str, Any]:
    """The columns for what is given."""
    values: dict[str, Any] = {}
    if not isinstance(title, Unset):
        check_text("title", title)
        values |= {"title": title, "title_folded": None if title is None else fold(title)}
    if not isinstance(model, Unset):
        check_text("model", model)
        values["model"] = model
    if not isinstance(settings, Unset):
        check_json("settings", settings)
        values["settings"] = dict(settings)
    return values


def _found(row: RowMapping | None, conversation_id: str) -> ConversationRecord:
    if row is None:
        raise NotFoundError("conversation", conversation_id)
    return _record(row)


def _record(row: RowMapping) -> ConversationRecord:
    return ConversationRecord(**row)
