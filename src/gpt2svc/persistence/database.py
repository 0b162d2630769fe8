"""The store: one SQLite file, one writer, a few readers."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gpt2svc.errors import StorageError
from gpt2svc.persistence.connection import Connection, uncancelled
from gpt2svc.persistence.file_errors import file_errors
from gpt2svc.persistence.ids import IdGenerator
from gpt2svc.persistence.migration_scripts import MigrationScripts
from gpt2svc.persistence.process_lock import ProcessLock
from gpt2svc.persistence.schema import SchemaUpgrade, read_revision, upgrade_schema
from gpt2svc.persistence.sqlite import Synchronous, create_readers, create_writer, storage_errors
from gpt2svc.persistence.unit_of_work import UnitOfWork
from gpt2svc.persistence.write_lock import WriteLock

T = TypeVar("T")

_logger = logging.getLogger(__name__)


def utc_now() -> datetime:
    return datetime.now(UTC)


class Database:
    """Owns `path` (by custom `<data_dir>/gpt2svc.db`) from `open()` to `close()`; also an async context manager.

        async with Database(settings.data_dir / "gpt2svc.db") as database:
            async with database.read() as uow:
                page = await uow.conversations.list(owner="", limit=20)
            message = await database.write(lambda uow: uow.messages.create(...))

    There is one writer connection, and it alone writes and checkpoints: that is what makes "database is locked"
    impossible within a service, and what keeps clear of a bug in SQLite before 3.51.3, where two connections that
    write or checkpoint a WAL at the same moment can damage it.
    """

    def __init__(
        self,
        path: Path,
        *,
        synchronous: Synchronous = "FULL",
        num_readers: int = 4,
        lock_timeout_s: float = 2.0,
        close_timeout_s: float = 5.0,
        clock: Callable[[], datetime] = utc_now,
        ids: IdGenerator | None = None,
        on_write: Callable[[float], None] | None = None,
        scripts: MigrationScripts | None = None,
    ) -> None:
        """`synchronous`: FULL survives a power cut, NORMAL only the death of the process but costs no fsync a commit.
        `lock_timeout_s`: how long to wait for another process to let go of the file.
        `close_timeout_s`: how long `close()` waits for reads that are still open.
        `on_write`: hears of each committed write, how many seconds it took with the wait for its turn.
        Raises StorageError for `:memory:`, which has none of these properties."""
        if str(path) == ":memory:":
            raise StorageError("The database must be a file: an in-memory one keeps nothing.")
        self.path = path
        self.ids = ids if ids is not None else IdGenerator()  # for ids that are needed before a transaction
        self._synchronous: Synchronous = synchronous
        self._num_readers = num_readers
        self._lock_timeout_s = lock_timeout_s
        self._close_timeout_s = close_timeout_s
        self._clock = clock
        self._scripts = scripts
        self._on_write = on_write
        self._process_lock = ProcessLock(path.with_suffix(".lock"))
        self._write_lock = WriteLock(path.with_suffix(".write-lock"))
        self._writer: AsyncEngine | None = None
        self._readers: AsyncEngine | None = None
        self._write_turn = asyncio.Lock()
        self._read_places = asyncio.Semaphore(num_readers)
        self._reading: set[AsyncConnection] = set()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def is_open(self) -> bool:
        return self._writer is not None

    @property
    def num_checked_out(self) -> int:
        """Connections in use: 0 when nothing reads or writes."""
        return len(self._reading) + self._write_turn.locked()

    async def open(self) -> SchemaUpgrade:
        """Create the folder, take the lock `<folder>/gpt2svc.lock`, migrate when needed, open the connections.

        An existing file is backed up next to itself before it is migrated. Raises StorageError (locked by another
        process, whose pid it names; not a database; unreadable; read-only; damaged), SchemaTooNewError,
        ForeignDatabaseError and StorageFullError; then nothing stays open.
        """
        if self.is_open:
            raise StorageError(f"{self.path} is open already.")
        with file_errors("create the data folder", self.path.parent):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        await self._process_lock.acquire(self._lock_timeout_s)
        try:
            scripts = self._scripts if self._scripts is not None else MigrationScripts.bundled()
            upgrade = await uncancelled(asyncio.to_thread(upgrade_schema, self.path, scripts))
            self._write_lock.open()
        except BaseException:
            self._process_lock.release()
            raise
        self._writer = create_writer(self.path, self._synchronous)
        self._readers = create_readers(self.path, self._num_readers)
        if upgrade.backup is not None:
            _logger.info("Migrated %s to %s; the file as it was: %s", self.path, upgrade.to_revision, upgrade.backup)
        return upgrade

    async def open_beside(self) -> None:
        """Open a file that a running service holds, for a short piece of work of another process (`gpt2svc keys`).

        Nothing is migrated: the service has done so. Raises StorageError when that is of another release.
        """
        scripts = self._scripts if self._scripts is not None else MigrationScripts.bundled()
        revision = await asyncio.to_thread(read_revision, self.path)
        if revision != scripts.head:
            raise StorageError(
                f"The service that uses {self.path.parent} is of another release of gpt2svc: its schema is {revision}, "
                f"this one's {scripts.head}. Use the gpt2svc that it was started with."
            )
        self._write_lock.open()
        self._writer = create_writer(self.path, self._synchronous, is_checkpointing=False)
        self._readers = create_readers(self.path, self._num_readers)

    async def close(self) -> None:
        """Wait for the write in progress, close every connection and release the lock. May be called twice."""
        await uncancelled(self._close())

    @asynccontextmanager
    async def read(self) -> AsyncIterator[UnitOfWork]:
        """`async with database.read() as uow`: a consistent snapshot that can't write.

        Hold it only while reading: leave it before streaming, and before waiting for anything but the database.
        Raises StorageError.
        """
        async with self._read_places:
            readers = self._readers
            if readers is None:
                raise self._closed_error()
            with storage_errors(self.path):
                connection = readers.connect()
                self._reading.add(connection)
                try:
                    await uncancelled(_started(connection))
                    yield self._unit_of_work(connection)
                finally:
                    try:
                        if connection.sync_connection is not None:
                            await uncancelled(connection.close())
                    finally:
                        self._reading.discard(connection)

    async def write(self, work: Callable[[UnitOfWork], Awaitable[T]]) -> T:
        """Run `work` in the one write transaction and return its result once it is committed.

        Any exception from `work` rolls everything back and comes out as it is. Cancelling the caller while it waits
        its turn drops the write; once begun, the write runs to its end and is committed although the caller has gone.
        Raises StorageFullError when the disk is full (nothing is written, later writes work once there is room)
        and StorageError when the file can't be written.
        """
        asked_at = time.perf_counter()
        await self._write_turn.acquire()
        # NOTE: no await between here and the callback that gives the turn back, so that a cancellation can't lose it.
        transaction = asyncio.ensure_future(self._transaction(work))
        transaction.add_done_callback(self._end_turn)
        try:
            result = await asyncio.shield(transaction)
        except asyncio.CancelledError:
            transaction.add_done_callback(_log_unheard_failure)
            raise
        if self._on_write is not None:
            self._on_write(time.perf_counter() - asked_at)
        return result

    async def _transaction(self, work: Callable[[UnitOfWork], Awaitable[T]]) -> T:
        if self._writer is None:
            raise self._closed_error()
        with storage_errors(self.path):
            async with self._write_lock.held(), self._writer.begin() as connection:
                return await work(self._unit_of_work(connection))

    def _end_turn(self, transaction: asyncio.Future[T]) -> None:
        self._write_turn.release()

    def _unit_of_work(self, connection: AsyncConnection) -> UnitOfWork:
        return UnitOfWork(Connection(connection), self._clock, self.ids)

    async def _close(self) -> None:
        async with self._write_turn:
            writer, self._writer = self._writer, None
            readers, self._readers = self._readers, None
            if writer is None or readers is None:
                return
            try:
                await self._end_reads()
                await readers.dispose()
                await self._dispose(writer)
            finally:
                self._write_lock.close()
                self._process_lock.release()

    async def _dispose(self, writer: AsyncEngine) -> None:
        """The last connection to go checkpoints the WAL and removes it."""
        try:
            async with self._write_lock.held():
                await writer.dispose()
        except StorageError:
            await writer.dispose()  # a stopped process keeps the lock, and can't keep this one from ending

    async def _end_reads(self) -> None:
        """Wait for the reads in progress; one that doesn't end loses its connection, so that the process can end."""
        num_ended = 0
        try:
            async with asyncio.timeout(self._close_timeout_s):
                while num_ended < self._num_readers:
                    await self._read_places.acquire()
                    num_ended += 1
        except TimeoutError:
            _logger.warning("Closing %s although %d reads are still open", self.path, len(self._reading))
            for connection in list(self._reading):
                await connection.invalidate()
        for _ in range(num_ended):
            self._read_places.release()  # to whoever reads now and is told that the database is closed

    def _closed_error(self) -> StorageError:
        return StorageError(f"The database {self.path} is not open.")


async def _started(connection: AsyncConnection) -> None:
    await connection.start()


def _log_unheard_failure(transaction: asyncio.Future[T]) -> None:
    """Of a write whose caller was cancelled: there is nobody left to raise it to."""
    if not transaction.cancelled() and (error := transaction.exception()) is not None:
        _logger.warning("A write failed after its caller had gone: %s", error)
