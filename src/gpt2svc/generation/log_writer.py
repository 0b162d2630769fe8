"""Stores the events of all running generations: one task, one transaction for everything that is due.

New tokens are written in windows, so a fast model costs few transactions and no database ever holds up decoding; an
ending is written at once, in one transaction with the tokens before it. This task alone writes to a generation after
it was accepted, so nothing can overtake anything.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from gpt2svc.errors import NotFoundError, StorageError
from gpt2svc.generation.live_log import LiveLog
from gpt2svc.persistence.database import Database
from gpt2svc.persistence.records import GenerationResult
from gpt2svc.persistence.unit_of_work import UnitOfWork

logger = logging.getLogger(__name__)

SETTLE_INTERVAL_S = 2.0  # between attempts to store the end of generations that could not be stored


class LogEntry:
    """One generation's log and how much of it is stored. `on_failure` hears that a window couldn't be written."""

    def __init__(self, log: LiveLog, on_failure: Callable[[Exception], None]) -> None:
        self.log = log
        self.num_stored = 0  # token events
        self.is_start_stored = False
        self.on_failure = on_failure


class LogWriter:
    def __init__(self, database: Database, flush_interval_s: float) -> None:
        self._database = database
        self._flush_interval_s = flush_interval_s
        self._due: dict[str, LogEntry] = {}  # with events that are not stored
        self._endings: list[tuple[LogEntry, GenerationResult, asyncio.Future[None]]] = []
        self._unsettled: list[tuple[LogEntry, GenerationResult, Callable[[], None]]] = []
        self._next_settle_at = 0.0
        self._wake = asyncio.Event()
        self._is_closing = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._is_closing = False
        self._task = asyncio.create_task(self._run(), name="log-writer")

    async def stop(self) -> None:
        """Write what is due and end. A last attempt is made for endings that could not be stored before."""
        self._is_closing = True
        self._wake.set()
        if self._task is not None:
            await self._task
            self._task = None

    def mark_due(self, entry: LogEntry) -> None:
        """There are new events; they are stored within the flush interval."""
        if entry.log.generation_id not in self._due:
            self._due[entry.log.generation_id] = entry
            self._wake.set()

    async def finish(self, entry: LogEntry, result: GenerationResult) -> None:
        """Store the end, with the tokens that are not stored yet. Raises what the database raises."""
        if self._task is None or self._task.done():
            raise StorageError("Nothing is stored before the service has started and after it has stopped.")
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._endings.append((entry, result, stored))
        self._wake.set()
        await stored

    def settle_later(self, entry: LogEntry, result: GenerationResult, on_settled: Callable[[], None]) -> None:
        """Keep trying to store an end that `finish` couldn't, so that no row stays active in a service that goes on."""
        self._unsettled.append((entry, result, on_settled))
        self._next_settle_at = self._now() + SETTLE_INTERVAL_S
        self._wake.set()

    async def _run(self) -> None:
        next_flush_at = 0.0
        while True:
            await self._wait_until(next_flush_at)
            self._wake.clear()
            is_flush_due = self._is_closing or self._now() >= next_flush_at
            if self._endings:
                await self._write_endings()
            if self._due and is_flush_due:
                await self._write_windows()
                next_flush_at = self._now() + self._flush_interval_s
            if self._unsettled and (self._is_closing or self._now() >= self._next_settle_at):
                await self._settle()
            if self._is_closing and not self._endings and not self._due:
                return

    async def _wait_until(self, next_flush_at: float) -> None:
        """Sleep until something is due: an ending at once, new tokens when the window is over."""
        while not self._endings and not self._is_closing:
            deadlines = []
            if self._due:
                deadlines.append(next_flush_at)
            if self._unsettled:
                deadlines.append(self._next_settle_at)
            if deadlines and min(deadlines) <= self._now():
                return
            timeout = min(deadlines) - self._now() if deadlines else None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._wake.wait()
            self._wake.clear()

    async def _write_windows(self) -> None:
        entries = list(self._due.values())
        self._due.clear()
        try:
            await self._store_windows(entries)
        except Exception as error:
            if len(entries) == 1:
                self._report(entries[0], error)
                return
            # One generation's trouble (a conversation deleted meanwhile, say) must not take the others with it.
            for entry in entries:
                try:
                    await self._store_windows([entry])
                except Exception as error:
                    self._report(entry, error)

    async def _store_windows(self, entries: list[LogEntry]) -> None:
        ends: list[int] = []

        async def work(uow: UnitOfWork) -> None:
            for entry in entries:
                await self._store_start(uow, entry)
                tokens = entry.log.records_after(entry.num_stored)
                if tokens:
                    await uow.generations.append_tokens(entry.log.generation_id, tokens)
                ends.append(entry.num_stored + len(tokens))

        await self._database.write(work)
        for entry, end in zip(entries, ends, strict=True):
            entry.is_start_stored = True
            entry.num_stored = end

    async def _write_endings(self) -> None:
        endings, self._endings = self._endings, []
        try:
            await self._store_endings([(entry, result) for entry, result, _ in endings])
        except Exception:
            for entry, result, stored in endings:
                try:
                    await self._store_endings([(entry, result)])
                except Exception as error:
                    _resolve(stored, error)
                else:
                    _resolve(stored, None)
        else:
            for _, _, stored in endings:
                _resolve(stored, None)

    async def _store_endings(self, endings: list[tuple[LogEntry, GenerationResult]], *, is_retry: bool = False) -> None:
        async def work(uow: UnitOfWork) -> None:
            for entry, result in endings:
                if not is_retry:
                    await self._store_start(uow, entry)
                await uow.generations.finish(entry.log.generation_id, result)

        await self._database.write(work)
        for entry, _ in endings:
            entry.num_stored = len(entry.log.tokens)
            self._due.pop(entry.log.generation_id, None)

    @staticmethod
    async def _store_start(uow: UnitOfWork, entry: LogEntry) -> None:
        if entry.log.started is not None and not entry.is_start_stored:
            await uow.generations.mark_started(entry.log.generation_id)

    async def _settle(self) -> None:
        unsettled, self._unsettled = self._unsettled, []
        for entry, result, on_settled in unsettled:
            try:
                # NOTE: an end that was committed after all stays as it is, while a start would be refused after it.
                await self._store_endings([(entry, result)], is_retry=True)
            except NotFoundError:
                on_settled()  # deleted: nothing is left to store it in
            except Exception as error:
                logger.warning("Generation %s still can't be stored: %s", entry.log.generation_id, error)
                self._unsettled.append((entry, result, on_settled))
            else:
                on_settled()
        self._next_settle_at = self._now() + SETTLE_INTERVAL_S

    def _report(self, entry: LogEntry, error: Exception) -> None:
        logger.warning("Generation %s can't be stored: %s", entry.log.generation_id, error)
        entry.on_failure(error)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _resolve(stored: "asyncio.Future[None]", error: Exception | None) -> None:
    if stored.done():
        return
    if error is None:
        stored.set_result(None)
    else:
        stored.set_exception(error)
