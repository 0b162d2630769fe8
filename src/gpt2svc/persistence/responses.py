"""Responses of /v1/responses in the store: what each was asked with, and the chain of those before it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, RowMapping, delete, insert, literal, select
from sqlalchemy.orm import aliased

from gpt2svc.errors import InvalidInputError, NotFoundError
from gpt2svc.persistence.connection import Connection
from gpt2svc.persistence.records import ChainLink, InputItem, ResponseRecord
from gpt2svc.persistence.stored_text import check_json
from gpt2svc.persistence.tables import ConversationRow, MessageRow, ResponseRow

MAX_CHAIN: Final = 1000  # responses that a prompt may go back over

_COLUMNS: Final = tuple(ResponseRow.__table__.c)


class ResponseRepository:
    """Another owner's response is one that is not there."""

    def __init__(self, connection: Connection, clock: Callable[[], datetime]) -> None:
        self._connection = connection
        self._clock = clock

    async def create(
        self,
        *,
        response_id: str,
        owner: str,
        conversation_id: str,
        generation_id: str,
        previous_response_id: str | None,
        items: Sequence[InputItem],
        request: Mapping[str, Any],
    ) -> ResponseRecord:
        """For a conversation of the kind "response" that is there. Raises InvalidInputError (NUL, lone surrogate)."""
        values = [asdict(item) for item in items]
        check_json("input", values)
        check_json("request", request)
        statement = insert(ResponseRow).values(
            id=response_id,
            owner=owner,
            conversation_id=conversation_id,
            generation_id=generation_id,
            previous_response_id=previous_response_id,
            input=values,
            request=dict(request),
            created_at=self._clock(),
        )
        result = await self._connection.execute(statement.returning(*_COLUMNS))
        return _record(result.mappings().one())

    async def get(self, response_id: str, owner: str) -> ResponseRecord:
        """Raises NotFoundError."""
        result = await self._connection.execute(select(*_COLUMNS).where(*_is(response_id, owner)))
        return _found(result.mappings().one_or_none(), response_id)

    async def of_conversation(self, conversation_id: str, owner: str) -> ResponseRecord:
        """The one whose reply is in this conversation. Raises NotFoundError."""
        statement = select(*_COLUMNS).where(ResponseRow.conversation_id == conversation_id, ResponseRow.owner == owner)
        return _found((await self._connection.execute(statement)).mappings().one_or_none(), "")

    async def chain_to(self, response_id: str, owner: str) -> tuple[ChainLink, ...]:
        """From the first response to this one, along `previous_response_id`, each with its reply.

        Raises NotFoundError, also where one of those before it was deleted, and InvalidInputError past MAX_CHAIN.
        """
        start = select(ResponseRow.id, ResponseRow.previous_response_id, literal(0).label("distance")).where(
            *_is(response_id, owner)
        )
        chain = start.cte("chain", recursive=True)
        previous = aliased(ResponseRow)
        chain = chain.union_all(
            select(previous.id, previous.previous_response_id, chain.c.distance + 1)
            .join(chain, previous.id == chain.c.previous_response_id)
            .where(previous.owner == owner, chain.c.distance < MAX_CHAIN)
        )
        statement = (
            select(
                *_COLUMNS,
                MessageRow.id.label("reply_id"),
                MessageRow.status.label("reply_status"),
                MessageRow.content.label("reply_text"),
            )
            .join(chain, ResponseRow.id == chain.c.id)
            .join(MessageRow, MessageRow.conversation_id == ResponseRow.conversation_id)
            .order_by(chain.c.distance.desc())
        )
        links = tuple(_link(row) for row in (await self._connection.execute(statement)).mappings().all())
        if not links:
            raise NotFoundError("response", response_id)
        if len(links) > MAX_CHAIN:
            raise InvalidInputError(
                f"previous_response_id goes back over more than {MAX_CHAIN} responses: begin a new chain.",
                field="previous_response_id",
            )
        missing = links[0].response.previous_response_id
        if missing is not None:
            raise NotFoundError("response", missing)
        return links

    async def delete(self, response_id: str, owner: str) -> None:
        """With its reply, its tokens and its idempotency key. Raises NotFoundError."""
        of_response = select(ResponseRow.conversation_id).where(*_is(response_id, owner)).scalar_subquery()
        statement = delete(ConversationRow).where(ConversationRow.id == of_response)
        if (await self._connection.execute(statement)).rowcount == 0:
            raise NotFoundError("response", response_id)


def _is(response_id: str, owner: str) -> tuple[ColumnElement[bool], ...]:
    return ResponseRow.id == response_id, ResponseRow.owner == owner


def _found(row: RowMapping | None, response_id: str) -> ResponseRecord:
    if row is None:
        raise NotFoundError("response", response_id)
    return _record(row)


def _link(row: RowMapping) -> ChainLink:
    return ChainLink(_record(row), row["reply_id"], row["reply_status"], row["reply_text"])


def _record(row: RowMapping) -> ResponseRecord:
    values = {column.name: row[column.name] for column in _COLUMNS}
    return ResponseRecord(**{**values, "input": tuple(InputItem(**item) for item in row["input"])})
