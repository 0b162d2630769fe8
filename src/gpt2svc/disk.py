"""The disk: what waits for it, and how it says that it is full."""

import errno
import os
from pathlib import Path


def sync_to_disk(path: Path) -> None:
    """Wait until what was written is where a power cut leaves it: of a file its content, of a folder the names in it.

    Raises OSError.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_disk_full(error: OSError) -> bool:
    """Or the part of it that this user may have."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)
