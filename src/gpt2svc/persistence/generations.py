"""Generations in the store: replies in the making or made, with their log of token events."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from gpt2svc.persistence.ids import IdGenerator
from gpt2svc.persistence.records import GenerationRecord, GenerationResult, TokenRecord


class GenerationRepository:
    def __init__(self, connection: AsyncConnection, clock: Callable[[], datetime], ids: IdGenerator) -> None:
        self._connection = connection
        self._clock = clock
        self._ids = ids

    async def create(
        self,
        *,
        conversation_id: str,
        message_id: str,
        owner: str,
        model: str,
        model_revision: str,
        settings: Mapping[str, Any],
        seed: int,
        prompt_tokens: int,
        dropped_message_ids: Sequence[str] = (),
        generation_id: str | None = None,
    ) -> GenerationRecord:
        """A `queued` one for an assistant's message that is already there (created with this `generation_id`).

        Raises ConversationBusyError when the conversation has an active one, NotFoundError for the message.
        """
        raise NotImplementedError

    async def get(self, generation_id: str, owner: str) -> GenerationRecord:
        """Raises NotFoundError, also when it belongs to another owner."""
        raise NotImplementedError

    async def active(self, conversation_id: str) -> GenerationRecord | None:
        """The one that is `queued` or `generating`; there is at most one in a conversation."""
        raise NotImplementedError

    async def mark_started(self, generation_id: str) -> GenerationRecord:
        """`queued` to `generating`, its message too. Raises NotFoundError, StorageError when it has already ended."""
        raise NotImplementedError

    async def append_tokens(self, generation_id: str, tokens: Sequence[TokenRecord]) -> int:
        """Add one flush window to the log and return the new `last_seq`.

        `seq` goes on from the last one kept without a gap; tokens that are already kept are left out, so a flush may
        be repeated. Raises NotFoundError (deleted meanwhile), StorageError (already ended), InvalidInputError (a gap;
        NUL or a lone surrogate in a text).
        """
        raise NotImplementedError

    async def tokens(self, generation_id: str, *, after_seq: int = 0, limit: int | None = None) -> list[TokenRecord]:
        """The kept events with `seq > after_seq` in order, at most `limit` of them."""
        raise NotImplementedError

    async def finish(self, generation_id: str, result: GenerationResult) -> GenerationRecord:
        """Write the end: the tokens not yet flushed, the generation, its message's text and status.

        The first ending wins: one that has already ended is returned as it is. Raises NotFoundError and
        InvalidInputError (as append_tokens; or `result.status` is no ending).
        """
        raise NotImplementedError

    async def interrupt_active(self) -> tuple[str, ...]:
        """At start-up: whatever is still `queued` or `generating` becomes `interrupted`, and its message gets the
        text of the tokens that were kept. Returns the generations' ids, oldest first."""
        raise NotImplementedError
