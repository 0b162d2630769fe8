"""What `write` has returned for survives `kill -9`, at whatever moment it comes."""

import asyncio
import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from gpt2svc.persistence.database import Database
from tests.persistence.writer import text

ROOT = Path(__file__).parents[2]


async def _write_until_killed(path: Path, kept: dict[str, tuple[int, bool]], num_writes: int, seconds: float) -> None:
    """So many seconds after so many writes. Notes what the writer said it had written."""
    writer = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.persistence.writer", str(path)), stdout=subprocess.PIPE, cwd=ROOT
    )
    assert writer.stdout is not None
    lines = b"".join([await writer.stdout.readline() for _ in range(num_writes)])
    await asyncio.sleep(seconds)
    writer.kill()
    lines += await writer.stdout.read()
    await writer.wait()
    assert lines.count(b"\n") >= num_writes
    for line in lines.decode().split("\n")[:-1]:
        generation_id, num_tokens, has_ended = line.split(" ")
        kept[generation_id] = (int(num_tokens), has_ended == "1")


@pytest.mark.slow
async def test_what_was_written_survives_the_death_of_the_process(path: Path) -> None:
    kept: dict[str, tuple[int, bool]] = {}
    moments = random.Random(0)
    for _ in range(8):
        await _write_until_killed(path, kept, moments.randint(1, 40), seconds=moments.uniform(0, 0.01))

    async with Database(path) as database:
        await database.write(lambda uow: uow.generations.interrupt_active())
        async with database.read() as uow:
            for generation_id, (num_tokens, has_ended) in kept.items():
                generation = await uow.generations.get(generation_id, "")
                log = await uow.generations.tokens(generation_id)
                # One more window or the end may have been committed before the writer could say so.
                assert num_tokens <= generation.last_seq == len(log) <= num_tokens + 3
                assert [token.seq for token in log] == list(range(1, len(log) + 1))
                assert generation.status in ({"completed"} if has_ended else {"interrupted", "completed"})
                reply = await uow.messages.get(generation.message_id, generation.conversation_id)
                assert reply.status == generation.status
                assert reply.content == "".join(token.text for token in log)
                assert reply.content == "".join(text(seq) for seq in range(1, generation.last_seq + 1))
                assert (await uow.conversations.get(generation.conversation_id, "")).num_messages == 2
    assert len(kept) >= 8
    assert any(num_tokens for num_tokens, _ in kept.values())

    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
