"""Idempotency keys in the store: which request already brought which reply."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from gpt2svc.persistence.records import IdempotencyRecord

KEY_LIFETIME: Final = timedelta(hours=24)


class IdempotencyKeyRepository:
    def __init__(self, connection: AsyncConnection, clock: Callable[[], datetime]) -> None:
        self._connection = connection
        self._clock = clock

    async def get(self, owner: str, key: str) -> IdempotencyRecord | None:
        """None when the key is unknown or older than KEY_LIFETIME."""
        raise NotImplementedError

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
        raise NotImplementedError

    async def sweep(self) -> int:
        """Delete keys older than KEY_LIFETIME; returns how many."""
        raise NotImplementedError
