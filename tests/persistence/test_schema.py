import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, pool

from gpt2svc.errors import ForeignDatabaseError, SchemaTooNewError, StorageError
from gpt2svc.persistence.database import Database
from gpt2svc.persistence.migration_scripts import HEAD_REVISION, MigrationScripts
from gpt2svc.persistence.schema import APPLICATION_ID, read_revision, upgrade_schema
from gpt2svc.persistence.tables import Base
from tests.persistence.turns import new_turn, tokens

NEXT = """
import sqlalchemy as sa
from alembic import op

revision = "20270101_next"
down_revision = "20261121_responses"


def upgrade():
    with op.batch_alter_table("conversations", recreate="always") as table:
        table.add_column(sa.Column("is_pinned", sa.Boolean(), nullable=False, server_default=sa.false()))
    {more}


def downgrade():
    pass
"""


def _scripts(folder: Path, *, more: str = "pass") -> MigrationScripts:
    """A release later than this one."""
    shutil.copytree(MigrationScripts.bundled().folder, folder)
    (folder / "versions" / "20270101_next.py").write_text(NEXT.format(more=more))
    return MigrationScripts(folder, "20270101_next")


def _execute(path: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement).fetchall()


def _config(path: Path) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MigrationScripts.bundled().folder))
    config.set_main_option("sqlalchemy.url", f"sqlite:///{path}")
    return config


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "gpt2svc.db"


@pytest.fixture
def current(file: Path) -> Path:
    upgrade_schema(file, MigrationScripts.bundled())
    return file


def test_the_first_upgrade_creates_this_releases_schema(file: Path) -> None:
    assert read_revision(file) is None
    assert not file.exists()
    done = upgrade_schema(file, MigrationScripts.bundled())
    assert (done.from_revision, done.to_revision, done.backup) == (None, HEAD_REVISION, None)
    assert read_revision(file) == HEAD_REVISION
    assert _execute(file, "PRAGMA application_id") == [(APPLICATION_ID,)]
    assert _execute(file, "PRAGMA journal_mode") == [("wal",)]
    assert file.stat().st_mode & 0o077 == 0


def test_an_empty_file_is_taken_as_a_new_database(file: Path) -> None:
    file.touch()
    assert upgrade_schema(file, MigrationScripts.bundled()).from_revision is None


def test_an_up_to_date_database_is_left_as_it_is(current: Path) -> None:
    before = current.read_bytes()
    done = upgrade_schema(current, MigrationScripts.bundled())
    assert (done.from_revision, done.backup) == (HEAD_REVISION, None)
    assert current.read_bytes() == before


def test_the_migrations_give_exactly_the_tables_of_the_models(current: Path) -> None:
    engine = create_engine(f"sqlite:///{current}", poolclass=pool.NullPool)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []
    # compare_metadata looks at neither CHECK constraints nor the conditions of indexes on SQLite.
    fresh = current.with_name("models.db")
    engine = create_engine(f"sqlite:///{fresh}", poolclass=pool.NullPool)
    Base.metadata.create_all(engine)
    query = "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE '%alembic%' AND sql IS NOT NULL ORDER BY name"

    def normal(path: Path) -> list[tuple[object, list[str]]]:
        return [
            # The order of constraints within a table says nothing; a table that was copied has its name in quotes.
            (name, sorted(line.strip(" ,\n\t").replace('"', "") for line in str(sql).split("\n")))
            for name, sql in _execute(path, query)
        ]

    assert normal(current) == normal(fresh)


def test_a_downgrade_leaves_nothing_and_can_be_upgraded_again(file: Path) -> None:
    config = _config(file)
    command.upgrade(config, "head")
    command.check(config)
    command.downgrade(config, "base")
    assert _execute(file, "SELECT name FROM sqlite_master WHERE name NOT LIKE '%alembic%'") == []
    command.upgrade(config, "head")
    command.check(config)


async def test_an_old_database_is_backed_up_then_migrated_with_all_its_rows(path: Path, tmp_path: Path) -> None:
    async with Database(path) as database:
        turn = await new_turn(database)
        await database.write(lambda uow: uow.generations.append_tokens(turn.generation.id, tokens("a", "b")))

    async with Database(path, scripts=_scripts(tmp_path / "next")) as database:
        async with database.read() as uow:
            assert len(await uow.messages.path_to(turn.reply.id)) == 2
            # The table that the others refer to was dropped and made anew: nothing went with the old one.
            assert await uow.generations.tokens(turn.generation.id) == tokens("a", "b")
        assert read_revision(path) == "20270101_next"

    (backup,) = path.parent.glob("*.backup")
    assert HEAD_REVISION in backup.name
    assert backup.stat().st_mode & 0o077 == 0
    assert read_revision(backup) == HEAD_REVISION
    assert _execute(backup, "PRAGMA integrity_check") == [("ok",)]
    assert _execute(backup, "SELECT count(*) FROM messages") == [(2,)]
    assert not list(path.parent.glob("*unfinished*"))


@pytest.mark.parametrize(
    "more",
    [
        "raise RuntimeError('half way')",
        (
            "op.execute(\"INSERT INTO messages SELECT 'msg_x', 'conv_gone', 1, NULL, 'user', '', '', 'completed', "
            'NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0")'
        ),
    ],
    ids=["raises", "breaks references"],
)
def test_a_migration_that_fails_changes_nothing(current: Path, tmp_path: Path, more: str) -> None:
    before = _execute(current, "SELECT sql FROM sqlite_master ORDER BY name")
    with pytest.raises((RuntimeError, StorageError)):
        upgrade_schema(current, _scripts(tmp_path / "next", more=more))
    assert read_revision(current) == HEAD_REVISION
    assert _execute(current, "SELECT sql FROM sqlite_master ORDER BY name") == before
    assert _execute(current, "SELECT count(*) FROM messages") == [(0,)]


SMALL_FILES = """
import resource, signal, sys
from pathlib import Path
from gpt2svc.errors import StorageError
from gpt2svc.persistence.migration_scripts import MigrationScripts
from gpt2svc.persistence.schema import upgrade_schema
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    upgrade_schema(Path(sys.argv[1]), MigrationScripts(Path(sys.argv[2]), "20270101_next"))
except StorageError as error:
    print(error.code)
"""


def test_no_migration_begins_without_a_whole_backup(current: Path, tmp_path: Path) -> None:
    scripts = _scripts(tmp_path / "next")
    command_line = [sys.executable, "-W", "error", "-c", SMALL_FILES, str(current), str(scripts.folder)]
    done = subprocess.run(command_line, check=True, capture_output=True, text=True)
    assert done.stdout == "storage_error\n"
    assert read_revision(current) == HEAD_REVISION
    assert not list(current.parent.glob("*backup*"))


def test_a_newer_schema_is_refused_with_both_revisions_named(current: Path) -> None:
    _execute(current, "UPDATE alembic_version SET version_num = '20991231_future'")
    before = current.read_bytes()
    with pytest.raises(SchemaTooNewError, match=f"20991231_future.*{HEAD_REVISION}"):
        upgrade_schema(current, MigrationScripts.bundled())
    assert read_revision(current) == "20991231_future"
    assert current.read_bytes() == before
    assert not list(current.parent.glob("*backup*"))


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TABLE notes (text)"],
        ["PRAGMA application_id = 252006675"],  # another program's, still without tables
        ["CREATE TABLE alembic_version (version_num)", f"INSERT INTO alembic_version VALUES ('{HEAD_REVISION}')"],
        ["CREATE TABLE conversations (id)", "PRAGMA application_id = 1"],
    ],
)
def test_another_programs_database_is_left_alone(file: Path, statements: list[str]) -> None:
    for statement in statements:
        _execute(file, statement)
    before = file.read_bytes()
    for look in (read_revision, lambda path: upgrade_schema(path, MigrationScripts.bundled())):
        with pytest.raises(ForeignDatabaseError, match="another program"):
            look(file)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"just text, longer than a header\n", "not a database"),
        (b"x", "not a database"),
        (b"SQLite format 3\x00" + b"\xff" * 5000, "not a database|damaged"),
    ],
)
def test_what_is_no_database_is_refused_and_kept(file: Path, content: bytes, message: str) -> None:
    file.write_bytes(content)
    with pytest.raises(StorageError, match=message):
        upgrade_schema(file, MigrationScripts.bundled())
    assert file.read_bytes() == content


def test_a_folder_in_its_place_is_refused(file: Path) -> None:
    file.mkdir()
    with pytest.raises(StorageError, match="not a file"):
        upgrade_schema(file, MigrationScripts.bundled())


def test_a_database_that_lost_its_version_is_refused(current: Path) -> None:
    _execute(current, "DELETE FROM alembic_version")
    with pytest.raises(StorageError, match="schema version"):
        upgrade_schema(current, MigrationScripts.bundled())


RACE = """
import sys, time
from pathlib import Path
from gpt2svc.persistence.migration_scripts import MigrationScripts
from gpt2svc.persistence.schema import upgrade_schema
import alembic.command
print("ready", flush=True)
sys.stdin.readline()
print(upgrade_schema(Path(sys.argv[1]), MigrationScripts.bundled()).to_revision)
"""


@pytest.mark.slow
def test_processes_that_race_without_a_lock_leave_one_whole_schema(file: Path) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", RACE, str(file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    for racer in racers:
        output, _ = racer.communicate(timeout=60)
        assert (racer.returncode, output) == (0, f"{HEAD_REVISION}\n")
    assert _execute(file, "SELECT version_num FROM alembic_version") == [(HEAD_REVISION,)]
    command.check(_config(file))
