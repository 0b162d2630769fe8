"""Waits until what was written is on the disk, where a power cut leaves it."""

import os
from pathlib import Path


def sync_to_disk(path: Path) -> None:
    """Of a file its content, of a folder the names in it. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
