import asyncio
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError

from gpt2svc.errors import ForeignDatabaseError, NotFoundError, StorageError, StorageFullError
from gpt2svc.persistence.database import Database
from gpt2svc.persistence.migration_scripts import MigrationScripts
from gpt2svc.persistence.schema import upgrade_schema
from gpt2svc.persistence.unit_of_work import UnitOfWork
from tests.persistence.turns import add_message, new_conversation, new_turn, tokens
from tests.persistence.watching import connection_threads, count_conversations, join_all


async def _pragma(database: Database, name: str, *, of_writer: bool) -> object:
    engine = database._writer if of_writer else database._readers
    assert engine is not None
    async with engine.connect() as connection:
        return (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one()


async def test_opening_creates_the_folder_and_what_was_written_is_there_after_reopening(path: Path) -> None:
    async with Database(path) as database:
        written = await new_conversation(database, title="Привіт")
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "gpt2svc.db",
        "gpt2svc.lock",
        "gpt2svc.write-lock",
    ]
    async with Database(path) as database, database.read() as uow:
        assert await uow.conversations.get(written.id, "") == written


async def test_closing_leaves_no_thread_and_may_be_repeated(path: Path) -> None:
    before = set(threading.enumerate())
    database = Database(path)
    await database.open()
    await asyncio.gather(*(count_conversations(database) for _ in range(8)))
    await new_conversation(database)
    assert len(connection_threads(before)) == 5
    await database.close()
    await database.close()
    assert not database.is_open
    await join_all(connection_threads(before))


async def test_a_closed_database_says_so_and_can_be_opened_again(path: Path) -> None:
    database = Database(path)
    for _ in range(2):
        with pytest.raises(StorageError, match="not open"):
            await count_conversations(database)
        with pytest.raises(StorageError, match="not open"):
            await new_conversation(database)
        await database.open()
        with pytest.raises(StorageError, match="open already"):
            await database.open()
        await new_conversation(database)
        await database.close()


async def test_a_second_service_on_the_same_folder_is_refused(database: Database, path: Path) -> None:
    with pytest.raises(StorageError, match=rf"in use by another gpt2svc process \(pid {os.getpid()}\)"):
        await Database(path, lock_timeout_s=0).open()
    await new_conversation(database)


async def test_the_connections_are_set_up_for_safety(path: Path) -> None:
    async with Database(path) as database:
        assert await _pragma(database, "journal_mode", of_writer=True) == "wal"
        assert await _pragma(database, "synchronous", of_writer=True) == 2  # FULL
        assert await _pragma(database, "foreign_keys", of_writer=True) == 1
        assert await _pragma(database, "busy_timeout", of_writer=True) == 5000
        assert await _pragma(database, "query_only", of_writer=False) == 1
        assert await _pragma(database, "busy_timeout", of_writer=False) == 5000
    async with Database(path, synchronous="NORMAL") as database:
        assert await _pragma(database, "synchronous", of_writer=True) == 1


def test_an_in_memory_database_is_refused() -> None:
    with pytest.raises(StorageError, match="must be a file"):
        Database(Path(":memory:"))


async def test_a_refused_file_leaves_nothing_open(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE notes (text)")
    database = Database(path, lock_timeout_s=0)
    for _ in range(2):  # the second time would find the lock still held
        with pytest.raises(ForeignDatabaseError):
            await database.open()
    assert not database.is_open


async def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="data folder"):
        await Database(tmp_path / "file" / "data" / "gpt2svc.db").open()


OPEN = """
import asyncio, concurrent.futures.thread, os, sys
from pathlib import Path
from gpt2svc.errors import StorageError
from gpt2svc.persistence.database import Database
if os.geteuid() == 0:
    os.setuid(65534)  # root may write anything
try:
    asyncio.run(Database(Path(sys.argv[1])).open())
except StorageError as error:
    print(error.message)
"""


@pytest.mark.parametrize(("mode", "message"), [(0o444, "is read-only"), (0, "Permission denied")])
def test_a_file_without_permission_is_a_storage_error(mode: int, message: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gpt2svc.db"
        upgrade_schema(path, MigrationScripts.bundled())
        path.parent.chmod(0o777)
        path.chmod(mode)
        done = subprocess.run([sys.executable, "-c", OPEN, str(path)], check=True, capture_output=True, text=True)
        assert message in done.stdout


async def test_a_failed_write_rolls_back_and_comes_out_as_it_is(database: Database) -> None:
    async def fail(uow: UnitOfWork) -> None:
        await uow.conversations.create(owner="")
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await database.write(fail)
    assert await count_conversations(database) == 0
    await new_conversation(database)
    assert await count_conversations(database) == 1


async def test_a_write_is_committed_when_it_returns(database: Database, path: Path) -> None:
    written = await new_conversation(database)
    with closing(sqlite3.connect(path)) as outsider:
        assert outsider.execute("SELECT id FROM conversations").fetchall() == [(written.id,)]


async def test_a_write_holds_the_lock_from_its_first_read_on(database: Database, path: Path) -> None:
    async def work(uow: UnitOfWork) -> None:
        await uow.conversations.list("")
        with (
            closing(sqlite3.connect(path, timeout=0)) as outsider,
            pytest.raises(sqlite3.OperationalError, match="locked"),
        ):
            outsider.execute("BEGIN IMMEDIATE")

    await database.write(work)


async def test_writes_run_one_at_a_time_and_all_of_them_count(database: Database) -> None:
    conversation = await new_conversation(database)
    inside = 0

    async def work(uow: UnitOfWork) -> None:
        nonlocal inside
        inside += 1
        assert inside == 1
        seen = (await uow.conversations.get(conversation.id, "")).settings.get("count", 0)
        await asyncio.sleep(0)
        await uow.conversations.update(conversation.id, "", settings={"count": seen + 1})
        inside -= 1

    await asyncio.gather(*(database.write(work) for _ in range(40)))
    async with database.read() as uow:
        assert (await uow.conversations.get(conversation.id, "")).settings == {"count": 40}


async def test_a_read_sees_one_snapshot_and_hides_nothing_that_was_there_before(database: Database) -> None:
    await new_conversation(database)
    async with database.read() as uow:
        assert len((await uow.conversations.list("")).items) == 1
        await new_conversation(database)  # a writer does not wait for readers
        assert len((await uow.conversations.list("")).items) == 1
    assert await count_conversations(database) == 2


async def test_a_read_cannot_write(database: Database) -> None:
    with pytest.raises(StorageError):
        async with database.read() as uow:
            await uow.conversations.create(owner="")
    assert await count_conversations(database) == 0


async def test_more_readers_than_connections_wait_their_turn(database: Database) -> None:
    await new_conversation(database)
    assert await asyncio.gather(*(count_conversations(database) for _ in range(50))) == [1] * 50


async def test_errors_do_not_repeat_what_people_wrote(database: Database) -> None:
    turn = await new_turn(database)
    with pytest.raises(IntegrityError) as caught:
        await database.write(
            lambda uow: uow.messages.create(
                conversation_id=turn.conversation.id, role="user", content="a secret", message_id=turn.reply.id
            )
        )
    assert "a secret" not in str(caught.value)


async def test_closing_waits_for_the_write_in_progress(path: Path) -> None:
    database = Database(path)
    await database.open()
    task = asyncio.ensure_future(new_conversation(database))
    await asyncio.sleep(0)
    await database.close()
    await task
    async with Database(path) as database:
        assert await count_conversations(database) == 1


async def test_closing_waits_for_the_reads_in_progress(path: Path) -> None:
    database = Database(path)
    await database.open()
    closing_task: asyncio.Task[None] | None = None
    async with database.read() as uow:
        closing_task = asyncio.ensure_future(database.close())
        await asyncio.sleep(0.01)
        assert (await uow.conversations.list("")).items == ()
    await closing_task
    assert not database.is_open


async def test_a_full_disk_is_said_to_be_so_writes_nothing_by_half_and_is_overcome(database: Database) -> None:
    turn = await new_turn(database)

    async def limit(pages: int) -> None:
        assert database._writer is not None
        async with database._writer.connect() as connection:
            await connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    async def big(uow: UnitOfWork) -> None:
        await uow.generations.append_tokens(turn.generation.id, tokens("a"))
        for _ in range(20):
            await uow.messages.create(conversation_id=turn.conversation.id, role="user", content="х" * 4000)

    await limit(1)  # not below what is in use
    for _ in range(3):
        with pytest.raises(StorageFullError, match="full"):
            await database.write(big)
    async with database.read() as uow:
        assert (await uow.conversations.get(turn.conversation.id, "")).num_messages == 2
        assert await uow.generations.tokens(turn.generation.id) == []
    await limit(1_000_000)
    await database.write(big)
    async with database.read() as uow:
        assert (await uow.conversations.get(turn.conversation.id, "")).num_messages == 22
        assert await uow.generations.tokens(turn.generation.id) == tokens("a")


async def test_a_lost_connection_is_replaced(database: Database) -> None:
    assert database._writer is not None
    conversation = await new_conversation(database)
    async with database._writer.connect() as connection:
        await connection.invalidate()
    await add_message(database, conversation, "Hi")
    assert await _pragma(database, "foreign_keys", of_writer=True) == 1


async def test_a_page_of_conversations_takes_one_query_however_many_there_are(database: Database) -> None:
    for _ in range(5):
        await new_turn(database)
    statements: list[str] = []
    assert database._readers is not None
    listener: Callable[..., None] = lambda connection, cursor, statement, *rest: statements.append(statement)  # noqa: E731
    event.listen(database._readers.sync_engine, "before_cursor_execute", listener)
    async with database.read() as uow:
        page = await uow.conversations.list("")
    assert [conversation.num_messages for conversation in page.items] == [2] * 5
    assert [statement for statement in statements if statement != "BEGIN"] == statements[-1:]


async def test_errors_of_the_domain_pass_through_a_read(database: Database) -> None:
    with pytest.raises(NotFoundError):
        async with database.read() as uow:
            await uow.conversations.get("conv_x", "")
    assert database.num_checked_out == 0
