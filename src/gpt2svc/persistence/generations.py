"""Generations in the store: replies in the making or made, with their log of token events."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import RowMapping, insert, select, text, update

from gpt2svc.errors import ConversationBusyError, InvalidInputError, NotFoundError, StorageError
from gpt2svc.persistence.connection import Connection
from gpt2svc.persistence.conversations import ConversationRepository
from gpt2svc.persistence.ids import IdGenerator
from gpt2svc.persistence.messages import MessageRepository
from gpt2svc.persistence.records import (
    ACTIVE_STATUSES,
    TERMINAL_STATUSES,
    GenerationRecord,
    GenerationResult,
    TokenRecord,
)
from gpt2svc.persistence.stored_text import check_json, check_text
from gpt2svc.persistence.tables import IS_ACTIVE, GenerationRow
from gpt2svc.persistence.token_log import TokenLog

_COLUMNS: Final = tuple(GenerationRow.__table__.c)


class GenerationRepository:
    def __init__(self, connection: Connection, clock: Callable[[], datetime], ids: IdGenerator) -> None:
        self._connection = connection
        self._clock = clock
        self._ids = ids
        self._conversations = ConversationRepository(connection, clock, ids)
        self._messages = MessageRepository(connection, clock, ids)

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
        prefix: Sequence[TokenRecord] = (),
        generation_id: str | None = None,
    ) -> GenerationRecord:
        """A `queued` one for an assistant's message that is already there (created with this `generation_id`).

        `prefix` are the tokens of a reply that it continues, numbered up to 0. Raises ConversationBusyError when the
        conversation has an active one, NotFoundError for the message.
        """
        check_json("settings", settings)
        await self._messages.get(message_id, conversation_id)
        active = await self.active(conversation_id)
        if active is not None:
            raise ConversationBusyError(conversation_id, active.id)
        statement = insert(GenerationRow).values(
            id=generation_id if generation_id is not None else self._ids.new_generation_id(),
            conversation_id=conversation_id,
            message_id=message_id,
            status="queued",
            owner=owner,
            model=model,
            model_revision=model_revision,
            settings=dict(settings),
            seed=seed,
            prompt_tokens=prompt_tokens,
            dropped_message_ids=list(dropped_message_ids),
            last_seq=0,
            created_at=self._clock(),
        )
        result = await self._connection.execute(statement.returning(*_COLUMNS))
        record = _record(result.mappings().one())
        await TokenLog(self._connection, record.id).begin_with(prefix)
        return record

    async def get(self, generation_id: str, owner: str) -> GenerationRecord:
        """Raises NotFoundError, also when it belongs to another owner."""
        statement = select(*_COLUMNS).where(GenerationRow.id == generation_id, GenerationRow.owner == owner)
        return _found((await self._connection.execute(statement)).mappings().one_or_none(), generation_id)

    async def active(self, conversation_id: str) -> GenerationRecord | None:
        """The one that is `queued` or `generating`; there is at most one in a conversation."""
        statement = select(*_COLUMNS).where(GenerationRow.conversation_id == conversation_id, text(IS_ACTIVE))
        row = (await self._connection.execute(statement)).mappings().one_or_none()
        return None if row is None else _record(row)

    async def mark_started(self, generation_id: str) -> GenerationRecord:
        """`queued` to `generating`, its message too. Raises NotFoundError, StorageError when it has already ended."""
        generation = await self._unfinished(generation_id)
        started_at = generation.started_at if generation.started_at is not None else self._clock()
        await self._messages.set_status(generation.message_id, "generating")
        return await self._update(generation_id, status="generating", started_at=started_at)

    async def append_tokens(self, generation_id: str, tokens: Sequence[TokenRecord]) -> int:
        """Add one flush window to the log and return the new `last_seq`.

        `seq` goes on from the last one kept without a gap; tokens that are already kept are left out, so a flush may
        be repeated. Raises NotFoundError (deleted meanwhile), StorageError (already ended), InvalidInputError (a gap;
        NUL or a lone surrogate in a text).
        """
        generation = await self._unfinished(generation_id)
        last_seq = await TokenLog(self._connection, generation_id).append(tokens, generation.last_seq)
        if last_seq > generation.last_seq:
            statement = update(GenerationRow).where(GenerationRow.id == generation_id).values(last_seq=last_seq)
            await self._connection.execute(statement)
        return last_seq

    async def tokens(self, generation_id: str, *, after_seq: int = 0, limit: int | None = None) -> list[TokenRecord]:
        """The kept events with `seq > after_seq` in order, at most `limit` of them."""
        return await TokenLog(self._connection, generation_id).read(after_seq=after_seq, limit=limit)

    async def prefix_tokens(self, generation_id: str) -> list[TokenRecord]:
        """The tokens of a reply that this one continues, which come before its first event."""
        return await TokenLog(self._connection, generation_id).read_prefix()

    async def finish(self, generation_id: str, result: GenerationResult) -> GenerationRecord:
        """Write the end: the tokens not yet flushed, the generation, its message's text and status.

        The first ending wins: one that has already ended is returned as it is. Raises NotFoundError and
        InvalidInputError (as append_tokens; or `result.status` is no ending).
        """
        if result.status not in TERMINAL_STATUSES:
            raise InvalidInputError(f"A generation can't end as {result.status!r}.", field="status")
        generation = await self._any(generation_id)
        if generation.status not in ACTIVE_STATUSES:
            return generation
        check_text("error", result.error)
        last_seq = await TokenLog(self._connection, generation_id).append(result.new_tokens, generation.last_seq)
        await self._messages.set_result(
            generation.message_id,
            status=result.status,
            content=result.text,
            finish_reason=result.finish_reason,
            usage=result.usage,
            error=result.error,
        )
        await self._conversations.touch(generation.conversation_id)
        return await self._update(
            generation_id,
            status=result.status,
            last_seq=last_seq,
            usage=dict(result.usage),
            timings=dict(result.timings),
            finish_reason=result.finish_reason,
            error_code=result.error_code,
            error=result.error,
            finished_at=self._clock(),
        )

    async def interrupt_active(self) -> tuple[str, ...]:
        """At start-up: whatever is still `queued` or `generating` becomes `interrupted`, and its message gets the
        text of the tokens that were kept. Returns the generations' ids, oldest first."""
        statement = select(*_COLUMNS).where(text(IS_ACTIVE)).order_by(GenerationRow.id)
        rows = (await self._connection.execute(statement)).mappings().all()
        for generation in map(_record, rows):
            kept = [*await self.prefix_tokens(generation.id), *await self.tokens(generation.id)]
            usage = {
                "prompt_tokens": generation.prompt_tokens,
                "completion_tokens": len(kept),
                "total_tokens": generation.prompt_tokens + len(kept),
                "cached_tokens": 0,
            }
            interrupted = GenerationResult(
                status="interrupted",
                finish_reason="error",
                text="".join(token.text for token in kept),
                usage=usage,
                timings={},
                error_code="interrupted",
                error="The service stopped while it was writing this reply; what it had written is kept.",
            )
            await self.finish(generation.id, interrupted)
        return tuple(row["id"] for row in rows)

    async def _any(self, generation_id: str) -> GenerationRecord:
        statement = select(*_COLUMNS).where(GenerationRow.id == generation_id)
        return _found((await self._connection.execute(statement)).mappings().one_or_none(), generation_id)

    async def _unfinished(self, generation_id: str) -> GenerationRecord:
        generation = await self._any(generation_id)
        if generation.status not in ACTIVE_STATUSES:
            raise StorageError(f"Generation {generation_id} has already ended as {generation.status}.")
        return generation

    async def _update(self, generation_id: str, **values: Any) -> GenerationRecord:
        statement = update(GenerationRow).where(GenerationRow.id == generation_id).values(**values)
        result = await self._connection.execute(statement.returning(*_COLUMNS))
        return _found(result.mappings().one_or_none(), generation_id)


def _found(row: RowMapping | None, generation_id: str) -> GenerationRecord:
    if row is None:
        raise NotFoundError("generation", generation_id)
    return _record(row)


def _record(row: RowMapping) -> GenerationRecord:
    return GenerationRecord(**{**row, "dropped_message_ids": tuple(row["dropped_message_ids"])})
