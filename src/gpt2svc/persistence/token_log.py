"""The log of a generation's token events: append-only rows, one a flush window."""

from collections.abc import Sequence

from sqlalchemy import insert, select

from gpt2svc.errors import InvalidInputError
from gpt2svc.persistence.connection import Connection
from gpt2svc.persistence.records import TokenRecord
from gpt2svc.persistence.stored_text import check_json, check_text
from gpt2svc.persistence.tables import TokenChunkRow
from gpt2svc.persistence.token_chunk import decode_chunk, encode_chunk


class TokenLog:
    """Of one generation, within one transaction."""

    def __init__(self, connection: Connection, generation_id: str) -> None:
        self._connection = connection
        self._generation_id = generation_id

    async def append(self, tokens: Sequence[TokenRecord], last_seq: int) -> int:
        """Add those of `tokens` that come after `last_seq`, the last one kept; returns the new last one.

        Raises InvalidInputError for a gap and for text that can't be stored.
        """
        new = [token for token in tokens if token.seq > last_seq]
        for expected, token in enumerate(new, start=last_seq + 1):
            if token.seq != expected:
                raise InvalidInputError(f"Token {token.seq} came where {expected} was due.", field="seq")
            check_text("text", token.text)
            check_json("logprobs", token.logprobs)
        if not new:
            return last_seq
        statement = insert(TokenChunkRow).values(
            generation_id=self._generation_id, last_seq=new[-1].seq, events=encode_chunk(new)
        )
        await self._connection.execute(statement)
        return new[-1].seq

    async def begin_with(self, prefix: Sequence[TokenRecord]) -> None:
        """Keep what comes before the first event, numbered up to 0: no viewer's cursor reaches back to it.

        Raises InvalidInputError for other numbers and for text that can't be stored.
        """
        if not prefix:
            return
        if [token.seq for token in prefix] != list(range(1 - len(prefix), 1)):
            raise InvalidInputError("The tokens before the first one must be numbered up to 0.", field="seq")
        for token in prefix:
            check_text("text", token.text)
            check_json("logprobs", token.logprobs)
        values = {"generation_id": self._generation_id, "last_seq": 0, "events": encode_chunk(prefix)}
        await self._connection.execute(insert(TokenChunkRow).values(values))

    async def read_prefix(self) -> list[TokenRecord]:
        """What `begin_with` kept."""
        statement = select(TokenChunkRow.events).where(
            TokenChunkRow.generation_id == self._generation_id, TokenChunkRow.last_seq == 0
        )
        events = (await self._connection.execute(statement)).scalar_one_or_none()
        return [] if events is None else decode_chunk(0, events)

    async def read(self, *, after_seq: int = 0, limit: int | None = None) -> list[TokenRecord]:
        """Events with `seq > after_seq` in order, at most `limit`."""
        statement = (
            select(TokenChunkRow.last_seq, TokenChunkRow.events)
            .where(TokenChunkRow.generation_id == self._generation_id, TokenChunkRow.last_seq > after_seq)
            .order_by(TokenChunkRow.last_seq)
        )
        if limit is not None:
            statement = statement.limit(limit)  # a row holds at least one event
        tokens: list[TokenRecord] = []
        for row in await self._connection.execute(statement):
            tokens += decode_chunk(row.last_seq, row.events)
        # Only the first row can reach back to what the reader has.
        return [token for token in tokens if token.seq > after_seq][:limit]
