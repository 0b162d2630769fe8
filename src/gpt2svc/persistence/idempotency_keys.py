"""Idempotency keys in the store: which request already brought which reply."""

import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, delete, exists, insert, select

from gpt2svc.errors import IdempotencyMismatchError, NotFoundError
from gpt2svc.persistence.connection import Connection
from gpt2svc.persistence.records import IdempotencyRecord
from gpt2svc.persistence.stored_text import check_text
from gpt2svc.persistence.tables import ConversationRow, IdempotencyKeyRow

KEY_LIFETIME: Final = timedelta(hours=24)

_COLUMNS: Final = tuple(IdempotencyKeyRow.__table__.c)


def hash_of_request(words: Sequence[Any]) -> str:
    """The same for the same request only. `words` are all that tells it from others, as JSON can write them."""
    return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()


class IdempotencyKeyRepository:
    def __init__(self, connection: Connection, clock: Callable[[], datetime]) -> None:
        self._connection = connection
        self._clock = clock

    async def get(self, owner: str, key: str) -> IdempotencyRecord | None:
        """None when the key is unknown or older than KEY_LIFETIME."""
        check_text("Idempotency-Key", key)
        statement = select(*_COLUMNS).where(
            *_is(owner, key), IdempotencyKeyRow.created_at > self._clock() - KEY_LIFETIME
        )
        row = (await self._connection.execute(statement)).mappings().one_or_none()
        return None if row is None else IdempotencyRecord(**row)

    async def find_replay(self, owner: str, key: str | None, body_hash: str) -> IdempotencyRecord | None:
        """What the same request brought before; None for a new request, and for one without a key.

        Raises IdempotencyMismatchError when the key came with another body.
        """
        record = None if key is None else await self.get(owner, key)
        if record is not None and record.body_hash != body_hash:
            raise IdempotencyMismatchError(
                f"The Idempotency-Key {key!r} was used before, with another request. Use a new key for a new one.",
                field="Idempotency-Key",
            )
        return record

    async def claim(
        self,
        *,
        owner: str,
        key: str,
        body_hash: str,
        conversation_id: str,
        user_message_id: str,
        message_id: str,
        generation_id: str,
    ) -> IdempotencyRecord:
        """Bind the key to a request, first thing in the transaction that accepts it.

        When the same request came before, its record is returned: whoever finds another `generation_id` in it than
        the one given creates nothing and attaches to that. Raises IdempotencyMismatchError when the key came with
        another body, NotFoundError for the conversation.
        """
        earlier = await self.find_replay(owner, key, body_hash)
        if earlier is not None:
            return earlier
        is_there = exists().where(ConversationRow.id == conversation_id)
        if not (await self._connection.execute(select(is_there))).scalar_one():
            raise NotFoundError("conversation", conversation_id)
        await self.sweep()  # this key's expired row, if any, and whatever else is due
        record = IdempotencyRecord(
            owner=owner,
            key=key,
            body_hash=body_hash,
            conversation_id=conversation_id,
            user_message_id=user_message_id,
            message_id=message_id,
            generation_id=generation_id,
            created_at=self._clock(),
        )
        statement = insert(IdempotencyKeyRow).values({column.name: getattr(record, column.name) for column in _COLUMNS})
        await self._connection.execute(statement)
        return record

    async def sweep(self) -> int:
        """Delete keys older than KEY_LIFETIME; returns how many. Every new claim does it."""
        statement = delete(IdempotencyKeyRow).where(IdempotencyKeyRow.created_at <= self._clock() - KEY_LIFETIME)
        return (await self._connection.execute(statement)).rowcount


def _is(owner: str, key: str) -> tuple[ColumnElement[bool], ...]:
    return IdempotencyKeyRow.owner == owner, IdempotencyKeyRow.key == key
