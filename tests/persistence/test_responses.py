"""Responses and their chains in the store, and the conversations that nobody sees."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command

from gpt2svc.errors import InvalidInputError, NotFoundError
from gpt2svc.persistence import responses
from gpt2svc.persistence.database import Database
from gpt2svc.persistence.records import InputItem, ResponseRecord
from gpt2svc.persistence.unit_of_work import UnitOfWork
from tests.persistence.test_schema import _config


async def new_response(
    database: Database, *, owner: str = "", previous: str | None = None, text: str = "Hi"
) -> ResponseRecord:
    ids = database.ids
    message_id, generation_id = ids.new_message_id(), ids.new_generation_id()

    async def work(uow: UnitOfWork) -> ResponseRecord:
        conversation = await uow.conversations.create(owner=owner, kind="response")
        await uow.messages.create(
            conversation_id=conversation.id,
            role="assistant",
            content=f"Reply to {text}",
            message_id=message_id,
            generation_id=generation_id,
        )
        await uow.generations.create(
            conversation_id=conversation.id,
            message_id=message_id,
            owner=owner,
            model="tiny",
            model_revision="r",
            settings={},
            seed=1,
            prompt_tokens=1,
            generation_id=generation_id,
        )
        return await uow.responses.create(
            response_id=ids.new_response_id(),
            owner=owner,
            conversation_id=conversation.id,
            generation_id=generation_id,
            previous_response_id=previous,
            items=(InputItem(ids.new_message_id(), "user", text),),
            request={"metadata": {"a": "б"}},
        )

    return await database.write(work)


async def test_a_response_is_read_back_as_it_was_written(database: Database) -> None:
    written = await new_response(database, text="Привіт 🙂")
    async with database.read() as uow:
        assert await uow.responses.get(written.id, "") == written
        assert await uow.responses.of_conversation(written.conversation_id, "") == written
    assert written.input[0].content == "Привіт 🙂"
    assert written.request == {"metadata": {"a": "б"}}


async def test_another_owners_response_is_not_there(database: Database) -> None:
    written = await new_response(database, owner="a")
    follower = await new_response(database, owner="b", previous=written.id)
    async with database.read() as uow:
        for look in (uow.responses.get, uow.responses.chain_to):
            with pytest.raises(NotFoundError):
                await look(written.id, "b")
        with pytest.raises(NotFoundError):
            await uow.responses.chain_to(follower.id, "b")
        with pytest.raises(NotFoundError):
            await uow.responses.of_conversation(written.conversation_id, "b")
    with pytest.raises(NotFoundError):
        await database.write(lambda uow: uow.responses.delete(written.id, "b"))
    async with database.read() as uow:
        assert await uow.responses.get(written.id, "a") == written


async def test_a_chain_comes_oldest_first_with_its_replies_and_may_fork(database: Database) -> None:
    first = await new_response(database, text="one")
    second = await new_response(database, previous=first.id, text="two")
    fork = await new_response(database, previous=first.id, text="three")
    async with database.read() as uow:
        for last in (second, fork):
            chain = await uow.responses.chain_to(last.id, "")
            assert [link.response for link in chain] == [first, last]
            assert [link.reply_text for link in chain] == ["Reply to one", f"Reply to {last.input[0].content}"]
            assert [link.reply_status for link in chain] == ["completed", "completed"]


async def test_a_chain_with_a_deleted_part_names_it(database: Database) -> None:
    first = await new_response(database)
    second = await new_response(database, previous=first.id)
    await database.write(lambda uow: uow.responses.delete(first.id, ""))
    async with database.read() as uow:
        assert await uow.responses.get(second.id, "") == second
        with pytest.raises(NotFoundError, match=first.id):
            await uow.responses.chain_to(second.id, "")


async def test_a_chain_has_a_bounded_length(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responses, "MAX_CHAIN", 3)
    previous: str | None = None
    chain = []
    for _ in range(4):
        chain.append(await new_response(database, previous=previous))
        previous = chain[-1].id
    async with database.read() as uow:
        assert len(await uow.responses.chain_to(chain[2].id, "")) == 3
        with pytest.raises(InvalidInputError, match="more than 3"):
            await uow.responses.chain_to(chain[3].id, "")


async def test_a_deleted_response_leaves_no_row(database: Database, path: Path) -> None:
    written = await new_response(database)
    await database.write(lambda uow: uow.responses.delete(written.id, ""))
    with closing(sqlite3.connect(path)) as connection:
        for table in ("conversations", "messages", "generations", "responses"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


async def test_conversations_do_not_show_those_of_responses(database: Database) -> None:
    unseen = (await new_response(database, text="findable")).conversation_id
    seen = await database.write(lambda uow: uow.conversations.create(owner="", title="findable"))
    async with database.read() as uow:
        assert (await uow.conversations.list("")).items == (seen,)
        assert (await uow.conversations.list("", search="findable")).items == (seen,)
        with pytest.raises(NotFoundError):
            await uow.conversations.get(unseen, "")
    for change in (
        lambda uow: uow.conversations.update(unseen, "", title="mine"),
        lambda uow: uow.conversations.delete(unseen, ""),
    ):
        with pytest.raises(NotFoundError):
            await database.write(change)


async def test_text_that_cannot_be_stored_is_refused(database: Database) -> None:
    with pytest.raises(InvalidInputError, match="NUL"):
        await new_response(database, text="a\x00b")
    async with database.read() as uow:
        assert (await uow.conversations.list("")).items == ()


async def test_a_downgrade_takes_responses_and_leaves_conversations(path: Path, empty_database: Path) -> None:
    async with Database(path) as database:
        await new_response(database)
        kept = await database.write(lambda uow: uow.conversations.create(owner="", title="kept"))
    command.downgrade(_config(path), "20261121_api_keys")
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT id FROM conversations").fetchall() == [(kept.id,)]
        assert connection.execute("SELECT count(*) FROM messages").fetchone() == (0,)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    async with Database(path) as database, database.read() as uow:
        assert (await uow.conversations.get(kept.id, "")).title == "kept"
