import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from gpt2svc.errors import IdempotencyMismatchError, InvalidInputError, NotFoundError
from gpt2svc.persistence.database import Database
from gpt2svc.persistence.records import IdempotencyRecord
from tests.fakes.clock import Clock
from tests.persistence.turns import new_conversation

DAY = timedelta(hours=24)


async def _claim(
    database: Database, conversation_id: str, *, owner: str = "", body_hash: str = "h", generation_id: str = "gen_1"
) -> IdempotencyRecord:
    return await database.write(
        lambda uow: uow.idempotency_keys.claim(
            owner=owner,
            key="key",
            body_hash=body_hash,
            conversation_id=conversation_id,
            user_message_id="msg_1",
            message_id="msg_2",
            generation_id=generation_id,
        )
    )


async def test_the_same_request_finds_what_the_first_one_led_to(database: Database) -> None:
    conversation = await new_conversation(database)
    first = await _claim(database, conversation.id)
    assert (first.user_message_id, first.message_id, first.generation_id) == ("msg_1", "msg_2", "gen_1")
    assert await _claim(database, conversation.id, generation_id="gen_2") == first
    async with database.read() as uow:
        assert await uow.idempotency_keys.get("", "key") == first


async def test_another_body_under_the_same_key_is_refused(database: Database) -> None:
    conversation = await new_conversation(database)
    first = await _claim(database, conversation.id)
    with pytest.raises(IdempotencyMismatchError):
        await _claim(database, conversation.id, body_hash="other")
    async with database.read() as uow:
        assert await uow.idempotency_keys.get("", "key") == first


async def test_each_owner_has_keys_of_its_own(database: Database) -> None:
    conversation = await new_conversation(database)
    await _claim(database, conversation.id, owner="a")
    async with database.read() as uow:
        assert await uow.idempotency_keys.get("b", "key") is None
    theirs = await _claim(database, conversation.id, owner="b", body_hash="other", generation_id="gen_2")
    assert theirs.generation_id == "gen_2"


async def test_a_key_is_forgotten_after_a_day(database: Database, clock: Clock) -> None:
    conversation = await new_conversation(database)
    await _claim(database, conversation.id)
    clock.move(DAY - timedelta(seconds=1))
    assert await database.write(lambda uow: uow.idempotency_keys.sweep()) == 0
    assert (await _claim(database, conversation.id, generation_id="gen_2")).generation_id == "gen_1"
    clock.move(timedelta(seconds=1))
    async with database.read() as uow:
        assert await uow.idempotency_keys.get("", "key") is None
    anew = await _claim(database, conversation.id, body_hash="other", generation_id="gen_3")
    assert anew.generation_id == "gen_3"


async def test_a_sweep_deletes_old_keys_and_counts_them(database: Database, clock: Clock) -> None:
    conversation = await new_conversation(database)
    await _claim(database, conversation.id, owner="old")
    clock.move(DAY / 2)
    await _claim(database, conversation.id, owner="new")
    clock.move(DAY / 2)
    assert await database.write(lambda uow: uow.idempotency_keys.sweep()) == 1
    async with database.read() as uow:
        assert await uow.idempotency_keys.get("new", "key") is not None


async def test_a_new_claim_sweeps(database: Database, clock: Clock, path: Path) -> None:
    conversation = await new_conversation(database)
    for owner in ("a", "b", "c"):
        clock.move(DAY)
        await _claim(database, conversation.id, owner=owner)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT owner FROM idempotency_keys").fetchall() == [("c",)]


async def test_a_key_needs_a_conversation_and_storable_text(database: Database) -> None:
    with pytest.raises(NotFoundError):
        await _claim(database, "conv_x")
    async with database.read() as uow:
        with pytest.raises(InvalidInputError) as caught:
            await uow.idempotency_keys.get("", "\x00")
    assert caught.value.field == "Idempotency-Key"
