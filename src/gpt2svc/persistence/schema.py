"""The schema of a database file: whose it is, how old it is, and bringing it up to date."""

import os
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection

from gpt2svc.disk import sync_to_disk
from gpt2svc.errors import ForeignDatabaseError, SchemaTooNewError, StorageError
from gpt2svc.persistence.file_errors import file_errors
from gpt2svc.persistence.migration_scripts import MigrationScripts
from gpt2svc.persistence.sqlite import BUSY_TIMEOUT_S, create_migrator, storage_errors

APPLICATION_ID: Final = 0x67327376  # "g2sv", in the file's header: see https://www.sqlite.org/pragma.html

_MAGIC: Final = b"SQLite format 3\x00"


@dataclass(frozen=True, slots=True)
class SchemaUpgrade:
    """What `upgrade_schema` did: nothing when the revisions are equal."""

    from_revision: str | None  # None: there was no database
    to_revision: str
    backup: Path | None  # a copy of the file as it was before


def read_revision(path: Path) -> str | None:
    """The revision of the schema in `path`; None when there is no database yet. Changes nothing.

    Raises ForeignDatabaseError, and StorageError when it is not a database or can't be read.
    """
    _check_file(path)
    if not path.exists() or path.stat().st_size == 0:
        return None
    with storage_errors(path), closing(_connect(path)) as connection:
        return _revision(connection.execute, path)


def upgrade_schema(path: Path, scripts: MigrationScripts) -> SchemaUpgrade:
    """Create the schema, or bring it to this release's, in one transaction; back an existing file up before.

    Blocking: call it in a thread, with the process lock held. Raises StorageError, ForeignDatabaseError,
    SchemaTooNewError and StorageFullError; then the schema is what it was.
    """
    revision = read_revision(path)
    if revision == scripts.head:
        _enter_wal_mode(path)
        return SchemaUpgrade(revision, scripts.head, None)
    if revision is not None:
        _check_known(revision, scripts, path)
    _check_writable(path)
    backup = None if revision is None else _back_up(path, revision)
    _create_private(path)
    with storage_errors(path):
        _enter_wal_mode(path)
        engine = create_migrator(path)
        try:
            with engine.begin() as connection:
                _migrate(connection, path, scripts)
        finally:
            engine.dispose()
    return SchemaUpgrade(revision, scripts.head, backup)


def _migrate(connection: Connection, path: Path, scripts: MigrationScripts) -> None:
    # NOTE: Alembic looks at the revision again, on this connection, which holds the write lock: on file systems where
    # the process lock means nothing, another process may have migrated in between.
    from alembic import command

    command.upgrade(_alembic_config(scripts, connection), "head")
    connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
    if broken:
        raise StorageError(
            f"Migrating {path} to {scripts.head} would break {len(broken)} references, the first in table "
            f"{broken[0][0]}: nothing was changed."
        )


def _alembic_config(scripts: MigrationScripts, connection: Connection | None = None) -> Any:
    # Imported where it is needed: most starts find the schema up to date.
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(scripts.folder).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _check_known(revision: str, scripts: MigrationScripts, path: Path) -> None:
    from alembic.script import ScriptDirectory

    known = {script.revision for script in ScriptDirectory.from_config(_alembic_config(scripts)).walk_revisions()}
    if revision not in known:
        raise SchemaTooNewError(
            f"{path} was written by a newer release of gpt2svc: its schema is {revision}, this release knows up to "
            f"{scripts.head}. Upgrade gpt2svc, or choose another data folder."
        )


def _revision(execute: Any, path: Path) -> str | None:
    tables = {name for (name,) in execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')").fetchall()}
    ((application_id,),) = execute("PRAGMA application_id").fetchall()
    if not tables and application_id in (0, APPLICATION_ID):
        return None
    if application_id != APPLICATION_ID:
        raise ForeignDatabaseError(
            f"{path} is a database of another program; gpt2svc leaves it alone. Choose another data folder."
        )
    rows = execute("SELECT version_num FROM alembic_version").fetchall() if "alembic_version" in tables else []
    if len(rows) != 1:
        raise StorageError(f"{path} has lost its schema version; restore a backup.")
    return str(rows[0][0])


def _check_file(path: Path) -> None:
    with file_errors("read", path):
        if not path.exists():
            return
        if not path.is_file():
            raise StorageError(f"{path} is not a file.")
        with path.open("rb") as file:
            head = file.read(len(_MAGIC))
    if head and head != _MAGIC:
        raise StorageError(f"{path} is not a database.")


def _check_writable(path: Path) -> None:
    # SQLite opens a file that it may not write as a read-only one, and says so only at the first write.
    existing = path if path.exists() else path.parent
    if not os.access(existing, os.W_OK) or not os.access(path.parent, os.W_OK):
        raise StorageError(f"{existing} is read-only: gpt2svc can't store conversations there.")


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None
    )


def _set_wal(connection: sqlite3.Connection) -> str:
    """The journal mode that SQLite then has."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            ((mode,),) = connection.execute("PRAGMA journal_mode = WAL").fetchall()
            return str(mode)
        except sqlite3.OperationalError as error:
            # NOTE: for this statement SQLite does not wait: a second process that switches at the same time is told
            # "locked" at once.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _enter_wal_mode(path: Path) -> None:
    """The mode is a property of the file: writers and readers no longer wait for each other."""
    _check_writable(path)
    with (
        storage_errors(path),
        closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)) as connection,
    ):
        mode = _set_wal(connection)
        if mode != "wal":
            raise StorageError(
                f"The file system of {path.parent} can't hold a database in WAL mode: put the data folder on a local "
                "disk."
            )


def _back_up(path: Path, revision: str) -> Path:
    """A consistent copy beside `path`, on the disk before this returns."""
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    backup = path.with_name(f"{path.name}.{now}.{revision}.backup")
    unfinished = path.with_name(f"{path.name}.unfinished-backup")
    with file_errors("back up", path), storage_errors(unfinished):
        try:
            unfinished.unlink(missing_ok=True)  # of a process that was killed
            _create_private(unfinished)
            with closing(_connect(path)) as source, closing(sqlite3.connect(unfinished)) as target:
                source.backup(target)
            unfinished.rename(backup)
            sync_to_disk(path.parent)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
    return backup


def _create_private(path: Path) -> None:
    """Conversations are nobody else's business; SQLite gives the files beside it the same permissions."""
    with file_errors("create", path):
        path.touch(mode=0o600)
