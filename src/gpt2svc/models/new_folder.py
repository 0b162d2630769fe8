"""NewFolder: a model folder that appears whole or not at all."""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gpt2svc.disk import sync_to_disk
from gpt2svc.errors import InvalidInputError


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path`, to be filled; it takes that name when the block ends well, else it goes.

    Raises InvalidInputError where `path` exists and is not an empty folder, and where the disk refuses, full or
    read-only.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise InvalidInputError(f"{path} already exists: name a new folder.", field="output")
    path = path.absolute()
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}.partial"
    try:
        temporary.mkdir(parents=True)
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                sync_to_disk(file)
        if path.is_dir():
            path.rmdir()
        temporary.rename(path)
    except OSError as error:
        raise InvalidInputError(f"Can't write {path}: {error.strerror or error}.", field="output") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
