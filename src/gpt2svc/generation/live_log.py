"""The events of one generation in memory, while it runs: written by its task, read by any number of viewers.

Viewers read by cursor and wait for a change; there is no queue of theirs to fill, so a slow one costs nothing.
"""

import asyncio
from collections.abc import AsyncIterator

from gpt2svc.generation.events import Done, Event, Failed, Queued, Started, Token
from gpt2svc.persistence.records import TokenRecord


class LiveLog:
    """Holds at most a window of tokens: a model's `n_positions` bounds it."""

    def __init__(self, generation_id: str, queued: Queued) -> None:
        self.generation_id = generation_id
        self.queued = queued
        self.started: Started | None = None
        self.tokens: list[Token] = []
        self.terminal: Done | Failed | None = None
        self._changed = asyncio.Event()

    @property
    def text(self) -> str:
        return "".join(token.text for token in self.tokens)

    def records_after(self, seq: int) -> tuple[TokenRecord, ...]:
        return tuple(token.to_record() for token in self.tokens[seq:])

    def publish(self, event: Started | Token | Done | Failed) -> None:
        if isinstance(event, Token):
            self.tokens.append(event)
        elif isinstance(event, Started):
            self.started = event
        else:
            self.terminal = event
        # Whoever waits holds the old event; the next one to wait takes the new one.
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait_for_end(self) -> Done | Failed:
        while self.terminal is None:
            await self._changed.wait()
        return self.terminal

    async def follow(self, after: int | None) -> AsyncIterator[Event]:
        """As GenerationSupervisor.events says."""
        cursor = after or 0
        is_queued_due = is_started_due = cursor == 0
        while True:
            # NOTE: taken before looking: a change while an event is being sent must not be slept through.
            changed = self._changed
            if is_queued_due:
                is_queued_due = False
                yield self.queued
            if is_started_due and self.started is not None:
                is_started_due = False
                yield self.started
            while cursor < len(self.tokens):
                cursor += 1
                yield self.tokens[cursor - 1]
            if self.terminal is not None and cursor >= len(self.tokens):
                if not is_seen(self.terminal, after):
                    yield self.terminal
                return
            await changed.wait()


def is_seen(terminal: Done | Failed, after: int | None) -> bool:
    """Whether a viewer with this cursor already has the terminal event.

    Never so for an `error`: its number can be that of a token which the viewer saw and a crash took away.
    """
    return isinstance(terminal, Done) and after is not None and after >= terminal.id
