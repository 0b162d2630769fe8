import pytest

from gpt2svc.errors import InvalidInputError, NotFoundError
from gpt2svc.persistence.database import Database
from gpt2svc.persistence.ids import is_id
from gpt2svc.persistence.records import MessageRecord
from gpt2svc.persistence.unit_of_work import UnitOfWork
from tests.persistence.turns import SETTINGS, add_message, new_conversation, new_turn


async def _path(database: Database, message: MessageRecord) -> list[str]:
    async with database.read() as uow:
        return [step.content for step in await uow.messages.path_to(message.id)]


async def test_a_message_is_read_back_as_it_was_created(database: Database) -> None:
    turn = await new_turn(database, content="Привіт 👋\u2028як справи?\r\n")
    assert is_id("message", turn.question.id)
    assert turn.question.content == "Привіт 👋\u2028як справи?\r\n"
    assert turn.question.status == "completed"
    assert turn.reply.settings == SETTINGS
    assert turn.reply.generation_id == turn.generation.id
    async with database.read() as uow:
        assert await uow.messages.get(turn.question.id, turn.conversation.id) == turn.question
        reply = await uow.messages.get(turn.reply.id, turn.conversation.id)
    assert reply == turn.reply


async def test_a_message_counts_in_its_conversation_and_makes_it_the_newest(database: Database) -> None:
    conversation = await new_conversation(database)
    for number in range(1, 4):
        await add_message(database, conversation, "Hi")
        async with database.read() as uow:
            now = await uow.conversations.get(conversation.id, "")
        assert now.num_messages == number
        assert now.updated_at > conversation.updated_at


@pytest.mark.parametrize("limit", [1, 2, 5, 6])
async def test_messages_are_listed_oldest_first_each_once(database: Database, limit: int) -> None:
    conversation = await new_conversation(database)
    other = await new_conversation(database)
    for number in range(5):
        await add_message(database, conversation, str(number))
        await add_message(database, other, "elsewhere")
    listed: list[str] = []
    cursor = None
    while True:
        async with database.read() as uow:
            page = await uow.messages.list(conversation.id, cursor=cursor, limit=limit)
        listed += [message.content for message in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert listed == ["0", "1", "2", "3", "4"]


async def test_a_message_that_comes_while_paging_is_on_a_later_page(database: Database) -> None:
    conversation = await new_conversation(database)
    for number in range(3):
        await add_message(database, conversation, str(number))
    async with database.read() as uow:
        page = await uow.messages.list(conversation.id, limit=2)
    await add_message(database, conversation, "3")
    async with database.read() as uow:
        rest = await uow.messages.list(conversation.id, cursor=page.next_cursor, limit=2)
    assert [message.content for message in (*page.items, *rest.items)] == ["0", "1", "2", "3"]


async def test_a_path_is_one_branch_from_the_root(database: Database) -> None:
    conversation = await new_conversation(database)
    root = await add_message(database, conversation, "root")
    left = await add_message(database, conversation, "left", parent_id=root.id)
    right = await add_message(database, conversation, "right", parent_id=root.id)
    right_leaf = await add_message(database, conversation, "right leaf", parent_id=right.id)
    left_leaf = await add_message(database, conversation, "left leaf", parent_id=left.id)
    assert await _path(database, left_leaf) == ["root", "left", "left leaf"]
    assert await _path(database, right_leaf) == ["root", "right", "right leaf"]
    assert await _path(database, root) == ["root"]


async def test_the_last_message_is_the_newest_of_any_branch(database: Database) -> None:
    conversation = await new_conversation(database)
    async with database.read() as uow:
        assert await uow.messages.last(conversation.id) is None
    root = await add_message(database, conversation, "root")
    await add_message(database, conversation, "one", parent_id=root.id)
    newest = await add_message(database, conversation, "two", parent_id=root.id)
    async with database.read() as uow:
        assert await uow.messages.last(conversation.id) == newest


async def test_a_parent_must_be_in_the_same_conversation(database: Database) -> None:
    conversation, other = await new_conversation(database), await new_conversation(database)
    stranger = await add_message(database, other, "stranger")
    for parent_id in (stranger.id, "msg_x"):
        with pytest.raises(NotFoundError) as caught:
            await add_message(database, conversation, "Hi", parent_id=parent_id)
        assert caught.value.kind == "message"
    async with database.read() as uow:
        assert (await uow.conversations.get(conversation.id, "")).num_messages == 0
        assert (await uow.messages.list(conversation.id)).items == ()


async def test_a_message_is_found_only_in_its_conversation(database: Database) -> None:
    conversation, other = await new_conversation(database), await new_conversation(database)
    message = await add_message(database, conversation, "Hi")
    async with database.read() as uow:
        with pytest.raises(NotFoundError):
            await uow.messages.get(message.id, other.id)
        with pytest.raises(NotFoundError):
            await uow.messages.path_to("msg_x")


async def test_a_message_needs_a_conversation(database: Database) -> None:
    with pytest.raises(NotFoundError) as caught:
        await database.write(lambda uow: uow.messages.create(conversation_id="conv_x", role="user", content="Hi"))
    assert caught.value.kind == "conversation"


async def test_text_that_no_database_holds_is_refused_and_nothing_is_written(database: Database) -> None:
    conversation = await new_conversation(database)
    for content in ("a\x00b", "\ud83d"):
        with pytest.raises(InvalidInputError) as caught:
            await add_message(database, conversation, content)
        assert caught.value.field == "content"
    async with database.read() as uow:
        assert (await uow.conversations.get(conversation.id, "")).num_messages == 0


async def test_a_result_replaces_text_and_status_and_can_be_searched(database: Database) -> None:
    turn = await new_turn(database)
    usage = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}

    async def work(uow: UnitOfWork) -> MessageRecord:
        return await uow.messages.set_result(
            turn.reply.id, status="failed", content="ЖАХ", finish_reason="error", usage=usage, error="broken"
        )

    after = await database.write(work)
    assert (after.status, after.content, after.finish_reason, after.usage, after.error) == (
        "failed",
        "ЖАХ",
        "error",
        usage,
        "broken",
    )
    assert after.settings == SETTINGS
    async with database.read() as uow:
        assert len((await uow.conversations.list("", search="жах")).items) == 1
        assert (await uow.conversations.list("", search="жахи")).items == ()
    with pytest.raises(NotFoundError):
        await database.write(lambda uow: uow.messages.set_result("msg_x", status="failed", content=""))
