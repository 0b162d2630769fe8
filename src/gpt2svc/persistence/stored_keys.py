"""Whether a database that nobody has opened yet holds a key that opens something."""

import sqlite3
from contextlib import closing
from pathlib import Path

from gpt2svc.persistence.schema import read_revision
from gpt2svc.persistence.sqlite import BUSY_TIMEOUT_S, storage_errors

_QUERY = "SELECT EXISTS (SELECT 1 FROM api_keys WHERE revoked_at IS NULL)"


def has_active_keys(path: Path) -> bool:
    """False too where there is no database, or one from before there were keys. Raises StorageError."""
    if read_revision(path) is None:
        return False
    uri = f"{path.absolute().as_uri()}?mode=rw"
    with storage_errors(path), closing(sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S)) as connection:
        tables = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'api_keys'").fetchall()
        return bool(tables) and connection.execute(_QUERY).fetchone() == (1,)
