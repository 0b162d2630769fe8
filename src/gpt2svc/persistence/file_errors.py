"""What the operating system says about a file, in the words of this package's errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gpt2svc.disk import is_disk_full
from gpt2svc.errors import StorageError, StorageFullError


@contextmanager
def file_errors(action: str, path: Path) -> Iterator[None]:
    """Raise an OSError as StorageFullError or StorageError: "Can't <action> <path>: <reason>."."""
    try:
        yield
    except OSError as error:
        message = f"Can't {action} {path}: {error.strerror or error}."
        if is_disk_full(error):
            raise StorageFullError(message) from error
        raise StorageError(message) from error
