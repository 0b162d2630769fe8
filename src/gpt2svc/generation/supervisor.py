"""Owns every generation of this process: a task each, which no request owns and no viewer can hold up."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from typing import Any, TypeVar

from gpt2svc.errors import UnavailableError
from gpt2svc.generation.admission import Admission
from gpt2svc.generation.ending import CANCELLED, SERVER_STOPPED
from gpt2svc.generation.events import Done, Event, Failed, Queued, Started, Token, terminal_event
from gpt2svc.generation.job import GenerationJob
from gpt2svc.generation.live_log import LiveLog, is_seen
from gpt2svc.generation.log_writer import LogWriter
from gpt2svc.generation.run import GenerationRun
from gpt2svc.metrics import Metrics
from gpt2svc.persistence.database import Database
from gpt2svc.persistence.records import ACTIVE_STATUSES, GenerationRecord
from gpt2svc.worker.protocol import EnginePool

T = TypeVar("T")

logger = logging.getLogger(__name__)

# A row is active and its run is not here only between the commit that accepts a reply and its launch, moments later.
POLL_INTERVAL_S = 0.05


class GenerationSupervisor:
    """Runs accepted generations to their end, publishes their events and stores them."""

    def __init__(
        self,
        database: Database,
        engines: EnginePool,
        admission: Admission,
        *,
        flush_interval_s: float = 0.25,
        metrics: Metrics | None = None,
    ) -> None:
        self._database = database
        self._engines = engines
        self._admission = admission
        self._writer = LogWriter(database, flush_interval_s)
        self._metrics = metrics if metrics is not None else Metrics()
        self._runs: dict[str, GenerationRun] = {}  # by generation id, until their end is stored
        self._tasks: set[asyncio.Task[None]] = set()
        self._accepting: set[asyncio.Task[Any]] = set()
        self._is_accepting = False

    async def start(self) -> None:
        """Mark what an earlier process left in progress as interrupted, and begin to take jobs."""
        interrupted = await self._database.write(lambda uow: uow.generations.interrupt_active())
        if interrupted:
            logger.warning("%d replies were cut off by the last stop and are marked interrupted.", len(interrupted))
        self._writer.start()
        self._is_accepting = True

    async def stop(self, drain_s: float = 0.0) -> None:
        """Take no more jobs, let the running ones finish for up to `drain_s` seconds, end the rest as interrupted.

        When it returns everything is stored, every viewer has its terminal event and no task is left.
        """
        self._is_accepting = False
        if self._accepting:
            await asyncio.wait(self._accepting)
        if self._tasks and drain_s > 0:
            await asyncio.wait(self._tasks, timeout=drain_s)
        for run in self._runs.values():
            run.end_early(SERVER_STOPPED)
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._writer.stop()

    @property
    def is_accepting(self) -> bool:
        """False before `start` and from `stop` on."""
        return self._is_accepting

    @property
    def num_active(self) -> int:
        return len(self._tasks)

    @property
    def num_queued(self) -> int:
        """Accepted, and no token of them yet."""
        return sum(run.log.started is None and run.log.terminal is None for run in self._runs.values())

    async def accept(self, accepting: Coroutine[Any, Any, T]) -> T:
        """Run what commits and launches a generation to its end, even when its caller leaves, and before any stop.

        So nothing can be committed and then not launched. Raises what it raises.
        """
        task = asyncio.create_task(accepting)
        self._accepting.add(task)
        task.add_done_callback(self._accepted)
        return await asyncio.shield(task)

    def _accepted(self, task: "asyncio.Task[Any]") -> None:
        self._accepting.discard(task)
        if not task.cancelled():
            task.exception()  # its caller may have left, and then nobody else looks

    def launch(self, job: GenerationJob) -> None:
        """Begin a generation whose row is committed; from within `accept`."""
        queued = Queued(
            generation_id=job.generation_id,
            conversation_id=job.conversation_id,
            message_id=job.message_id,
            user_message_id=job.user_message_id,
            position=self._position(job),
            prefix_text=job.prefix.text if job.prefix is not None else None,
        )
        run = GenerationRun(
            job,
            LiveLog(job.generation_id, queued),
            engines=self._engines,
            writer=self._writer,
            admission=self._admission,
            metrics=self._metrics,
            on_settled=lambda: self._forget(job.generation_id),
        )
        self._runs[job.generation_id] = run
        task = asyncio.create_task(run.execute(), name=f"generation-{job.generation_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _position(self, job: GenerationJob) -> int:
        """How many replies of the model get their turn before it, at most, if no more come: the engine takes the oldest
        one of the owner with the fewest running."""
        running: Counter[str] = Counter()
        waiting: Counter[str] = Counter()
        for run in self._runs.values():
            if run.job.model == job.model and run.log.terminal is None:
                (waiting if run.log.started is None else running)[run.job.owner] += 1
        num_own = waiting.pop(job.owner, 0)
        level = running[job.owner] + num_own  # running of its owner when its turn comes; the others are level then
        return num_own + sum(min(count, max(0, level - running[owner] + 1)) for owner, count in waiting.items())

    def require_accepting(self) -> None:
        """Raises UnavailableError before `start` and from `stop` on."""
        if not self._is_accepting:
            raise UnavailableError("The service is starting or stopping and takes no new messages.", retry_after_s=5.0)

    async def has_more(self, generation_id: str, owner: str, after: int | None) -> bool:
        """False when a viewer with this cursor already has the `done` event (HTTP: 204, which stops an EventSource).

        Raises NotFoundError. Ask it before the response's head is sent.
        """
        log = self._live_log(generation_id, owner)
        if log is not None:
            return log.terminal is None or not is_seen(log.terminal, after)
        record = await self._record(generation_id, owner)
        return record.status in ACTIVE_STATUSES or not is_seen(terminal_event(record), after)

    async def events(self, generation_id: str, owner: str, after: int | None = None) -> AsyncIterator[Event]:
        """The events of a live, finished or interrupted generation, up to and with its terminal event.

        `after` None or 0: all of them; n: tokens n+1 … and the terminal event, which is sent again for any cursor
        unless it is a `done` that the viewer has. Any number of viewers, each at its own pace; leaving is free.
        Raises NotFoundError at the first step.
        """
        if after:
            self._metrics.resumes.inc()
        log = await self._live_log_unless_ended(generation_id, owner)
        if log is None:
            for event in await self._replay(generation_id, owner, after):
                yield event
            return
        async for event in log.follow(after):
            yield event

    async def cancel(self, generation_id: str, owner: str) -> GenerationRecord:
        """Stop it and wait until its end is stored; one that has ended stays as it is. Raises NotFoundError."""
        if await self._live_log_unless_ended(generation_id, owner) is not None:
            self.abandon(generation_id, owner)
        return await self.result(generation_id, owner)

    def abandon(self, generation_id: str, owner: str) -> None:
        """Have a launched one end as cancelled, without waiting for that; nothing where it has ended."""
        log = self._live_log(generation_id, owner)
        if log is not None and log.terminal is None:
            self._runs[generation_id].end_early(CANCELLED)

    async def result(self, generation_id: str, owner: str) -> GenerationRecord:
        """Wait for the end. Its text is in the message `message_id`. Raises NotFoundError."""
        log = await self._live_log_unless_ended(generation_id, owner)
        terminal = await log.wait_for_end() if log is not None else None
        record = await self._record(generation_id, owner)
        if record.status in ACTIVE_STATUSES and terminal is not None:
            return _with_ending(record, terminal)  # the end could not be stored yet
        return record

    def _live_log(self, generation_id: str, owner: str) -> LiveLog | None:
        run = self._runs.get(generation_id)
        return run.log if run is not None and run.job.owner == owner else None

    async def _live_log_unless_ended(self, generation_id: str, owner: str) -> LiveLog | None:
        """None: its end is stored. Raises NotFoundError."""
        while True:
            log = self._live_log(generation_id, owner)
            if log is not None:
                return log
            if (await self._record(generation_id, owner)).status not in ACTIVE_STATUSES:
                return None
            # NOTE: it may have been launched, or have ended, while the row was being read.
            if self._live_log(generation_id, owner) is None:
                await asyncio.sleep(POLL_INTERVAL_S)

    async def _record(self, generation_id: str, owner: str) -> GenerationRecord:
        async with self._database.read() as uow:
            return await uow.generations.get(generation_id, owner)

    async def _replay(self, generation_id: str, owner: str, after: int | None) -> list[Event]:
        """The events of a generation that has ended, from its rows."""
        cursor = after or 0
        async with self._database.read() as uow:
            record = await uow.generations.get(generation_id, owner)
            tokens = await uow.generations.tokens(generation_id, after_seq=cursor)
            prefix = await uow.generations.prefix_tokens(generation_id) if cursor == 0 else []
            message = await uow.messages.get(record.message_id, record.conversation_id)
        events: list[Event] = []
        if cursor == 0:
            events.append(
                Queued(
                    generation_id=record.id,
                    conversation_id=record.conversation_id,
                    message_id=record.message_id,
                    user_message_id=message.parent_id or "",
                    position=0,
                    prefix_text="".join(token.text for token in prefix) if prefix else None,
                )
            )
            if record.started_at is not None or record.last_seq > 0:
                events.append(Started.from_record(record))
        events.extend(Token.from_record(token) for token in tokens)
        terminal = terminal_event(record)
        if not is_seen(terminal, after):
            events.append(terminal)
        return events

    def _forget(self, generation_id: str) -> None:
        self._runs.pop(generation_id, None)


def _with_ending(record: GenerationRecord, terminal: Done | Failed) -> GenerationRecord:
    if isinstance(terminal, Done):
        return replace(record, status=terminal.status, finish_reason=terminal.finish_reason, usage=terminal.usage)
    return replace(
        record, status=terminal.status, error_code=terminal.code, error=terminal.message, usage=terminal.usage
    )
