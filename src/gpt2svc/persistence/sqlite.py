"""Everything that is particular to SQLite: connections, pragmas, and what its errors mean."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from gpt2svc.errors import StorageError, StorageFullError

Synchronous = Literal["FULL", "NORMAL"]

BUSY_TIMEOUT_S: Final = 5.0  # only outsiders (a backup, the sqlite3 shell) can make us wait at all

_CACHE_KIB: Final = 8 * 1024  # a connection
_MAX_KEPT_WAL_BYTES: Final = 16 * 1024 * 1024

_MEANINGS: Final = {
    sqlite3.SQLITE_BUSY: "another program keeps it locked",
    sqlite3.SQLITE_LOCKED: "another program keeps it locked",
    sqlite3.SQLITE_READONLY: "it is read-only",
    sqlite3.SQLITE_PERM: "access is not permitted",
    sqlite3.SQLITE_CANTOPEN: "it can't be opened",
    sqlite3.SQLITE_IOERR: "reading or writing it failed",
    sqlite3.SQLITE_CORRUPT: "it is damaged; restore a backup",
    sqlite3.SQLITE_NOTADB: "it is not a database",
    sqlite3.SQLITE_PROTOCOL: "its file system can't lock files; put the data folder on a local disk",
    sqlite3.SQLITE_NOMEM: "there is no memory left",
}


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Raise what goes wrong with the file as StorageFullError or StorageError; other errors pass.

    A violated constraint passes too: it is a bug in this package, not a fault of the file.
    """
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        code = getattr(cause, "sqlite_errorcode", None)
        primary = code & 0xFF if isinstance(code, int) else None  # extended codes add detail in the higher bits
        if primary == sqlite3.SQLITE_FULL:
            raise StorageFullError(
                f"The disk that holds {path} is full: nothing was written. Free some space and try again."
            ) from error
        if primary in _MEANINGS:
            raise StorageError(f"The database {path} can't be used: {_MEANINGS[primary]} ({cause}).") from error
        raise


def create_writer(path: Path, synchronous: Synchronous, *, is_checkpointing: bool = True) -> AsyncEngine:
    """One connection, whose transactions take the write lock when they begin. `is_checkpointing` False leaves it to
    another process to move the log's pages into the file.

    NOTE: a transaction that reads first and asks for the lock later fails at once when another one wrote in between.
    """
    pragmas = [
        *_COMMON_PRAGMAS,
        f"synchronous = {synchronous}",
        "foreign_keys = ON",
        f"journal_size_limit = {_MAX_KEPT_WAL_BYTES}",
    ]
    if not is_checkpointing:
        pragmas.append("wal_autocheckpoint = 0")
    return _create_async_engine(path, pragmas, begin="BEGIN IMMEDIATE", pool_size=1)


def create_readers(path: Path, num_readers: int) -> AsyncEngine:
    """`num_readers` connections at most; a transaction sees one snapshot, from its first statement on."""
    return _create_async_engine(path, [*_COMMON_PRAGMAS, "query_only = ON"], begin="BEGIN", pool_size=num_readers)


def create_migrator(path: Path) -> Engine:
    """A plain connection for the migrations, which run in a thread at start-up.

    Foreign keys stay off on it: a batch migration drops and recreates tables, and dropping one with them on deletes
    every row that refers to it.
    """
    engine = create_engine(
        URL.create("sqlite", database=str(path.absolute())),
        poolclass=NullPool,
        connect_args={"isolation_level": None, "timeout": BUSY_TIMEOUT_S},
    )
    _set_up(engine, ["synchronous = FULL", "foreign_keys = OFF"], begin="BEGIN IMMEDIATE")
    return engine


_COMMON_PRAGMAS: Final = (f"cache_size = -{_CACHE_KIB}", "temp_store = MEMORY")


def _create_async_engine(path: Path, pragmas: list[str], *, begin: str, pool_size: int) -> AsyncEngine:
    engine = create_async_engine(
        URL.create("sqlite+aiosqlite", database=str(path.absolute())),
        pool_size=pool_size,
        max_overflow=0,
        # isolation_level None keeps the driver from beginning transactions of its own, at moments of its own choice.
        connect_args={"isolation_level": None, "timeout": BUSY_TIMEOUT_S},
        hide_parameters=True,  # they are people's messages, and errors end up in logs
    )
    _set_up(engine.sync_engine, pragmas, begin=begin)
    return engine


def _set_up(engine: Engine, pragmas: list[str], *, begin: str) -> None:
    @event.listens_for(engine, "connect")
    def set_pragmas(connection: Any, entry: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Any) -> None:
        connection.exec_driver_sql(begin)
