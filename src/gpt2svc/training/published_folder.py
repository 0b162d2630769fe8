"""Folders and files that appear whole or not at all: written beside their place, then renamed into it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from gpt2svc.disk import is_disk_full, sync_to_disk
from gpt2svc.errors import StorageError, StorageFullError

TEMPORARY_PREFIX = ".writing-"
REPLACED_PREFIX = ".replaced-"
_FULL = re.compile(r"no space left|os error 28|disk quota|os error 122", re.IGNORECASE)


@contextmanager
def published_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder to fill; it takes the place of `folder` when the block ends well, else it goes.

    Raises StorageFullError or StorageError; what was in `folder` is then still there.
    """
    temporary = folder.with_name(TEMPORARY_PREFIX + folder.name)
    try:
        with storage_errors(folder):
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            yield temporary
            publish(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def publish(temporary: Path, folder: Path) -> None:
    """Moves a complete folder to its place. A process that dies between the two renames leaves `recover` something."""
    for file in temporary.rglob("*"):
        if file.is_file():
            sync_to_disk(file)
    replaced = folder.with_name(REPLACED_PREFIX + folder.name)
    shutil.rmtree(replaced, ignore_errors=True)
    if folder.exists():
        folder.rename(replaced)
    temporary.rename(folder)
    sync_to_disk(folder.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def recover(parent: Path) -> None:
    """What a killed process left in `parent`: half-written folders go, a folder that was being replaced comes back."""
    for path in parent.glob(f"{TEMPORARY_PREFIX}*"):
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    for path in parent.glob(f"{REPLACED_PREFIX}*"):
        place = path.with_name(path.name.removeprefix(REPLACED_PREFIX))
        if place.exists():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.rename(place)


def write_file(path: Path, content: bytes) -> None:
    """Replaces `path` at once: a reader sees the old content or the new, never a part. Raises as `published_folder`."""
    temporary = path.with_name(TEMPORARY_PREFIX + path.name)
    with storage_errors(path):
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """OSError, and what torch and safetensors make of it, as StorageFullError or StorageError about `path`."""
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise _full(path) from error
        raise StorageError(f"Can't write {path}: {error.strerror or error}.") from error
    except (SafetensorError, RuntimeError) as error:
        if _FULL.search(str(error)):
            raise _full(path) from error
        if (
            isinstance(error, SafetensorError)
            or "PytorchStreamWriter" in str(error)
            or "inline_container" in str(error)
        ):
            raise StorageError(f"Can't write {path}: {str(error)[:200]}") from error
        raise


def _full(path: Path) -> StorageFullError:
    return StorageFullError(
        f"The disk is full: {path} was not written, and nothing half-written is left. Free some space and go on with "
        "--resume."
    )
