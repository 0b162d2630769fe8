"""Conversations in the store."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from gpt2svc.persistence.ids import IdGenerator
from gpt2svc.persistence.records import ConversationRecord, Page
from gpt2svc.persistence.unset import UNSET, Unset


class ConversationRepository:
    """Every method that takes an `owner` treats another owner's conversation as one that is not there."""

    def __init__(self, connection: AsyncConnection, clock: Callable[[], datetime], ids: IdGenerator) -> None:
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
    ) -> ConversationRecord:
        raise NotImplementedError

    async def get(self, conversation_id: str, owner: str) -> ConversationRecord:
        """Raises NotFoundError."""
        raise NotImplementedError

    async def list(
        self, owner: str, *, cursor: str | None = None, limit: int = 20, search: str | None = None
    ) -> Page[ConversationRecord]:
        """Newest activity first. `search` finds text in titles and messages, whatever the case, also in Ukrainian.

        Raises InvalidInputError for a cursor that this method did not give out (field "cursor"), a limit outside
        1 to 1000 (field "limit") and a search of more than 200 characters (field "search").
        """
        raise NotImplementedError

    async def update(
        self,
        conversation_id: str,
        owner: str,
        *,
        title: str | None | Unset = UNSET,
        model: str | None | Unset = UNSET,
        settings: Mapping[str, Any] | Unset = UNSET,
    ) -> ConversationRecord:
        """Change what is given; `settings` replaces the whole mapping. Raises NotFoundError."""
        raise NotImplementedError

    async def touch(self, conversation_id: str) -> None:
        """Set `updated_at` to now. Raises NotFoundError."""
        raise NotImplementedError

    async def delete(self, conversation_id: str, owner: str) -> None:
        """With its messages, generations, their tokens and idempotency keys. Raises NotFoundError."""
        raise NotImplementedError
