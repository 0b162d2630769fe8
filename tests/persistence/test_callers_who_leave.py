"""Work on the database whose caller is cancelled: whole or absent, and nothing is left behind."""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable
from pathlib import Path

import pytest
from sqlalchemy import event

from gpt2svc.errors import StorageError
from gpt2svc.persistence.database import Database
from gpt2svc.persistence.unit_of_work import UnitOfWork
from tests.persistence.turns import new_conversation, new_turn
from tests.persistence.watching import connection_threads, count_conversations, join_all

"""Work on the database whose caller is cancelled: whole or absent, and nothing is left behind."""


async def _settle(database: Database) -> None:
    """Let writes go on whose callers have gone."""
    while database.num_checked_out:  # noqa: ASYNC110 (there is no event to wait for: the caller has gone)
        await asyncio.sleep(0.001)


def num_checked_out(database: Database) -> int:
    engines = [engine for engine in (database._writer, database._readers) if engine is not None]
    return sum(engine.pool.checkedout() for engine in engines)  # type: ignore[attr-defined]


async def _cancel_after(steps: int, work: Awaitable[object], *, pause: float = 0.0002) -> None:
    """Cancel `work` after so many rounds of the event loop, each with some time for the driver's thread."""
    task = asyncio.ensure_future(work)
    for _ in range(steps):
        await asyncio.sleep(pause)
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        assert task.exception() is None  # it was done before


async def test_a_cancelled_write_is_whole_or_absent_and_the_writer_goes_on(database: Database) -> None:
    async def work(uow: UnitOfWork) -> None:
        conversation = await uow.conversations.create(owner="", title="whole")
        for number in range(3):
            await uow.messages.create(conversation_id=conversation.id, role="user", content=str(number))

    async def stored(title: str) -> list[int]:
        async with database.read() as uow:
            found = (await uow.conversations.list("", limit=1000)).items
        return [conversation.num_messages for conversation in found if conversation.title == title]

    steps = num_after = 0
    while steps < 40 or not await stored("whole"):  # on a busy machine it takes more rounds until a write is done
        await _cancel_after(steps, database.write(work))
        if steps % 4 == 0:
            await new_conversation(database, title="after")
            num_after += 1
        steps += 1
    await _settle(database)
    assert num_checked_out(database) == 0
    assert len(await stored("after")) == num_after
    assert set(await stored("whole")) == {3}


async def test_a_write_cancelled_at_any_round_of_the_loop_gives_its_turn_back(database: Database) -> None:
    for steps in range(20):
        await _cancel_after(steps, new_conversation(database), pause=0)
        async with asyncio.timeout(10):
            await new_conversation(database, title="after")


async def test_a_write_cancelled_while_it_waits_its_turn_never_happens(database: Database) -> None:
    may_end = asyncio.Event()

    async def slow(uow: UnitOfWork) -> None:
        await uow.conversations.create(owner="", title="slow")
        await may_end.wait()

    first = asyncio.ensure_future(database.write(slow))
    waiting = [asyncio.ensure_future(new_conversation(database, title="dropped")) for _ in range(3)]
    await asyncio.sleep(0.01)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    may_end.set()
    await first
    assert await count_conversations(database) == 1


async def test_a_write_whose_caller_has_gone_is_committed(database: Database) -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def work(uow: UnitOfWork) -> None:
        await uow.conversations.create(owner="", title="kept")
        begun.set()
        await may_end.wait()

    task = asyncio.ensure_future(database.write(work))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    may_end.set()
    await _settle(database)
    assert await count_conversations(database) == 1


async def test_a_write_that_fails_after_its_caller_has_gone_is_logged(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def work(uow: UnitOfWork) -> None:
        begun.set()
        await may_end.wait()
        raise LookupError("lost")

    task = asyncio.ensure_future(database.write(work))
    await begun.wait()
    task.cancel()
    await asyncio.wait([task])
    may_end.set()
    await _settle(database)
    await asyncio.sleep(0)
    assert "after its caller had gone: lost" in caplog.text


async def test_200_cancelled_reads_leave_no_connection_checked_out_and_no_thread_behind(database: Database) -> None:
    turn = await new_turn(database)
    await asyncio.gather(*(count_conversations(database) for _ in range(50)))  # every connection is open
    threads = threading.active_count()
    lost: list[object] = []
    assert database._readers is not None
    event.listen(database._readers.sync_engine, "invalidate", lambda *arguments: lost.append(arguments))

    async def read() -> None:
        async with database.read() as uow:
            await uow.conversations.list("", search="нема")
            await uow.messages.path_to(turn.reply.id)

    for steps in range(200):
        await _cancel_after(steps % 20, read())
    assert database.num_checked_out == 0
    assert num_checked_out(database) == 0
    assert threading.active_count() == threads
    assert lost == []  # else its thread may still be using what the next one needs
    assert await asyncio.gather(*(count_conversations(database) for _ in range(8))) == [1] * 8


async def test_reads_cancelled_while_their_connection_is_opened_leave_nothing_behind(path: Path) -> None:
    before = set(threading.enumerate())
    for steps in range(12):
        async with Database(path) as database:
            await asyncio.gather(*(_cancel_after(steps + number, count_conversations(database)) for number in range(4)))
            assert database.num_checked_out == 0
            assert num_checked_out(database) == 0
            assert await count_conversations(database) == 0
    await join_all(connection_threads(before))


async def test_a_read_that_is_never_left_does_not_keep_the_process_alive(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = set(threading.enumerate())
    database = Database(path, close_timeout_s=0.01)
    await database.open()
    leaked = database.read()
    uow = await leaked.__aenter__()
    await uow.conversations.list("")
    await database.close()
    assert "1 reads are still open" in caplog.text
    with pytest.raises(StorageError, match="not open"):
        await count_conversations(database)
    with contextlib.suppress(StorageError):
        await leaked.__aexit__(None, None, None)
    await join_all(connection_threads(before))
