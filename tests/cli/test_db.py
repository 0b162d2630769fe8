import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gpt2svc.cli.db import db_app
from gpt2svc.errors import ForeignDatabaseError, StorageError
from gpt2svc.persistence.migration_scripts import HEAD_REVISION


def _run(*arguments: str) -> str:
    return CliRunner().invoke(db_app, arguments, catch_exceptions=False).stdout


def test_upgrade_creates_the_database_and_says_what_it_did(tmp_path: Path) -> None:
    path = tmp_path / "data" / "gpt2svc.db"
    folder = ["--data-dir", str(path.parent)]
    assert "does not exist yet" in _run("current", *folder)
    assert not path.parent.exists()
    assert _run("upgrade", *folder) == f"Created {path}: {HEAD_REVISION}\n"
    assert path.is_file()
    assert _run("upgrade", *folder) == f"{path} is up to date: {HEAD_REVISION}\n"
    assert _run("current", *folder) == f"{path}: {HEAD_REVISION} (up to date)\n"


def test_json_gives_programs_the_same(tmp_path: Path) -> None:
    folder = ["--data-dir", str(tmp_path), "--json"]
    path = str(tmp_path / "gpt2svc.db")
    absent = {"database": path, "revision": None, "head": HEAD_REVISION, "is_current": False}
    assert json.loads(_run("current", *folder)) == absent
    created = {"database": path, "from_revision": None, "revision": HEAD_REVISION, "backup": None}
    assert json.loads(_run("upgrade", *folder)) == created
    assert json.loads(_run("current", *folder)) == absent | {"revision": HEAD_REVISION, "is_current": True}


def test_current_tells_a_newer_schema_apart(tmp_path: Path) -> None:
    _run("upgrade", "--data-dir", str(tmp_path))
    with closing(sqlite3.connect(tmp_path / "gpt2svc.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '20991231_future'")
    assert f"20991231_future (this release's is {HEAD_REVISION})" in _run("current", "--data-dir", str(tmp_path))


@pytest.mark.parametrize("command", ["current", "upgrade"])
def test_what_is_not_ours_is_refused(tmp_path: Path, command: str) -> None:
    path = tmp_path / "gpt2svc.db"
    path.write_bytes(b"not a database, but text")
    with pytest.raises(StorageError, match="not a database"):
        _run(command, "--data-dir", str(tmp_path))
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE notes (text)")
    with pytest.raises(ForeignDatabaseError, match="another program"):
        _run(command, "--data-dir", str(tmp_path))
