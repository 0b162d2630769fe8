"""API keys in the store: who may use the service, and for what."""

from collections.abc import Callable, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Final

from sqlalchemy import RowMapping, delete, func, insert, select, update

from gpt2svc.errors import InvalidInputError, NotFoundError
from gpt2svc.persistence.connection import Connection
from gpt2svc.persistence.ids import IdGenerator
from gpt2svc.persistence.records import SCOPES, ApiKeyRecord, Scope
from gpt2svc.persistence.tables import ApiKeyRow

MAX_NAME_LENGTH: Final = 100

_COLUMNS: Final = (
    ApiKeyRow.id,
    ApiKeyRow.name,
    ApiKeyRow.scopes,
    ApiKeyRow.secret_hash,
    ApiKeyRow.created_at,
    ApiKeyRow.revoked_at,
)


class ApiKeyRepository:
    def __init__(self, connection: Connection, clock: Callable[[], datetime], ids: IdGenerator) -> None:
        self._connection = connection
        self._clock = clock
        self._ids = ids

    async def version(self) -> tuple[int, int]:
        """How many there are, and a number that is another after each change. (0, 0): there is none.

        NOTE: of all rows, not of the newest only: one that is deleted leaves no trace, and the next begins to count
        where it had begun.
        """
        rows = (await self._connection.execute(select(ApiKeyRow.id, ApiKeyRow.change).order_by(ApiKeyRow.id))).all()
        digest = blake2b(repr([tuple(row) for row in rows]).encode(), digest_size=8).digest()
        return len(rows), int.from_bytes(digest, "big") if rows else 0

    async def list(self) -> tuple[ApiKeyRecord, ...]:
        """All of them, revoked ones too, oldest first."""
        rows = (await self._connection.execute(select(*_COLUMNS).order_by(ApiKeyRow.id))).mappings()
        return tuple(map(_record, rows))

    async def create(self, *, name: str, scopes: Sequence[Scope], secret_hash: str) -> ApiKeyRecord:
        """Raises InvalidInputError for a name or scope that is none."""
        if not 1 <= len(name) <= MAX_NAME_LENGTH or not name.isprintable():
            raise InvalidInputError(f"name must have 1 to {MAX_NAME_LENGTH} printable characters.", field="name")
        if not scopes or not set(scopes) <= set(SCOPES):
            raise InvalidInputError(f"scopes must be some of {', '.join(SCOPES)}.", field="scopes")
        statement = insert(ApiKeyRow).values(
            id=self._ids.new_key_id(),
            name=name,
            scopes=[scope for scope in SCOPES if scope in scopes],
            secret_hash=secret_hash,
            change=await self._next_change(),
            created_at=self._clock(),
        )
        row = (await self._connection.execute(statement.returning(*_COLUMNS))).mappings().one()
        return _record(row)

    async def revoke(self, key_id: str) -> ApiKeyRecord:
        """It opens nothing any more; one that was revoked before keeps its time. Raises NotFoundError."""
        statement = (
            update(ApiKeyRow)
            .where(ApiKeyRow.id == key_id, ApiKeyRow.revoked_at.is_(None))
            .values(revoked_at=self._clock(), change=await self._next_change())
        )
        await self._connection.execute(statement)
        row = (await self._connection.execute(select(*_COLUMNS).where(ApiKeyRow.id == key_id))).mappings().one_or_none()
        if row is None:
            raise NotFoundError("key", key_id)
        return _record(row)

    async def delete(self, key_id: str) -> None:
        """Raises NotFoundError."""
        if (await self._connection.execute(delete(ApiKeyRow).where(ApiKeyRow.id == key_id))).rowcount == 0:
            raise NotFoundError("key", key_id)

    async def _next_change(self) -> int:
        # NOTE: a count, not a time: clocks go back, and a change must never look like none.
        statement = select(func.coalesce(func.max(ApiKeyRow.change), 0) + 1)
        return int((await self._connection.execute(statement)).scalar_one())


def _record(row: RowMapping) -> ApiKeyRecord:
    return ApiKeyRecord(**{**row, "scopes": tuple(row["scopes"])})
