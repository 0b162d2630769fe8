"""A lock that one process holds for its life, so that two services never share one database file."""

import asyncio
import fcntl
import os
import time
from pathlib import Path
from typing import Final

from gpt2svc.errors import StorageError, StorageInUseError
from gpt2svc.persistence.file_errors import file_errors

_POLL_INTERVAL_S: Final = 0.05


class ProcessLock:
    """An flock on `path`, which also holds the owner's pid for people and for error messages.

    The system lets go of it when the process ends, however it ends. The file stays: whoever removed it could hand the
    lock to two processes at once. A child made by a bare fork would share the lock; spawned ones do not.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    async def acquire(self, timeout_s: float) -> None:
        """Raises StorageInUseError when another holder (whose pid it names) keeps it for `timeout_s` seconds."""
        with file_errors("use the lock file", self.path):
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                deadline = time.monotonic() + timeout_s
                while not _is_locked_now(descriptor, self.path):
                    if time.monotonic() >= deadline:
                        raise _in_use(self.path, descriptor)  # noqa: TRY301 (closes the file below)
                    await asyncio.sleep(_POLL_INTERVAL_S)
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            except BaseException:
                os.close(descriptor)
                raise
        self._descriptor = descriptor

    def release(self) -> None:
        """Does nothing when it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _is_locked_now(descriptor: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise StorageError(
            f"The file system of {path.parent} can't lock files ({error.strerror}): put the data folder on a local "
            "disk."
        ) from error
    return True


def _in_use(path: Path, descriptor: int) -> StorageInUseError:
    pid = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
    holder = f"another gpt2svc process (pid {pid})" if pid.isdigit() else "another gpt2svc process"
    return StorageInUseError(f"{path.parent} is in use by {holder}: stop it first, or choose another data folder.")
