"""A lock that whoever writes to a database file holds for as long as one transaction takes.

SQLite has its own, which keeps transactions apart. But before 3.51.3 a WAL can be damaged when two connections write
or checkpoint at the very same moment, so a second process that writes (`gpt2svc keys`, beside a running service) must
not even begin while the service does.
"""

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from gpt2svc.errors import StorageError
from gpt2svc.persistence.file_errors import file_errors

TIMEOUT_S: Final = 5.0
_POLL_INTERVAL_S: Final = 0.002  # the other side's transactions take a few milliseconds


class WriteLock:
    """An flock on `path`; one `held()` at a time in a process. The system lets go of it when the process ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def open(self) -> None:
        """Raises StorageError."""
        with file_errors("use the lock file", self.path):
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def close(self) -> None:
        """Does nothing when it is not open."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Raises StorageError when another process keeps it for TIMEOUT_S, and when it is not open."""
        descriptor = self._descriptor
        if descriptor is None:
            raise StorageError(f"The lock {self.path} is not open.")
        deadline = time.monotonic() + TIMEOUT_S
        while not _is_locked_now(descriptor):
            if time.monotonic() >= deadline:
                raise StorageError(f"Another process has been writing to {self.path.parent} for {TIMEOUT_S:g} seconds.")
            await asyncio.sleep(_POLL_INTERVAL_S)
        try:
            yield
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)


def _is_locked_now(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
