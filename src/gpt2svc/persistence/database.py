"""The store: one SQLite file, one writer, a few readers."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from pathlib import Path
from typing import Literal, TypeVar

from gpt2svc.persistence.ids import IdGenerator
from gpt2svc.persistence.unit_of_work import UnitOfWork

T = TypeVar("T")


def utc_now() -> datetime:
    raise NotImplementedError


class Database:
    """Owns `path` (by custom `<data_dir>/gpt2svc.db`) from `open()` to `close()`; also an async context manager.

    async with Database(settings.data_dir / "gpt2svc.db") as database:
        async with database.read() as uow:
            page = await uow.conversations.list(owner="", limit=20)
        message = await database.write(lambda uow: uow.messages.create(...))
    """

    def __init__(
        self,
        path: Path,
        *,
        synchronous: Literal["FULL", "NORMAL"] = "FULL",
        num_readers: int = 4,
        lock_timeout_s: float = 2.0,
        clock: Callable[[], datetime] = utc_now,
        ids: IdGenerator | None = None,
        migrations: Path | None = None,
    ) -> None:
        """`synchronous`: FULL survives a power cut, NORMAL only the death of the process but costs no fsync a commit.
        `lock_timeout_s`: how long to wait for another process to let go of the file."""
        self.path = path
        self.ids = ids if ids is not None else IdGenerator()  # for ids that are needed before a transaction

    async def open(self) -> None:
        """Create the folder, take the lock `<folder>/gpt2svc.lock`, migrate when needed, open the connections.

        An existing file is backed up next to itself before it is migrated. Raises StorageError (locked by another
        process, whose pid it names; not a database; unreadable; read-only; damaged), SchemaTooNewError,
        ForeignDatabaseError and StorageFullError; then nothing stays open.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """Wait for the write in progress, close every connection and release the lock. May be called twice."""
        raise NotImplementedError

    def read(self) -> AbstractAsyncContextManager[UnitOfWork]:
        """`async with database.read() as uow`: a consistent snapshot that can't write.

        Hold it only while reading: leave it before streaming, and before waiting for anything but the database.
        Raises StorageError.
        """
        raise NotImplementedError

    async def write(self, work: Callable[[UnitOfWork], Awaitable[T]]) -> T:
        """Run `work` in the one write transaction and return its result once it is committed.

        Any exception from `work` rolls everything back and comes out as it is. Cancelling the caller while it waits
        its turn drops the write; once begun, the write runs to its end and is committed although the caller has gone.
        Raises StorageFullError when the disk is full (nothing is written, later writes work once there is room)
        and StorageError when the file can't be written.
        """
        raise NotImplementedError
