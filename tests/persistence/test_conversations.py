from datetime import timedelta

import pytest

from gpt2svc.errors import InvalidInputError, NotFoundError
from gpt2svc.persistence.database import Database
from gpt2svc.persistence.ids import is_id
from gpt2svc.persistence.page_cursor import encode_cursor
from gpt2svc.persistence.records import ConversationRecord
from tests.fakes.clock import Clock
from tests.persistence.turns import add_message, new_conversation, new_turn, tokens


async def _list(database: Database, owner: str = "", *, limit: int = 20, search: str | None = None) -> list[str]:
    """The titles over all pages."""
    titles: list[str] = []
    cursor = None
    while True:
        async with database.read() as uow:
            page = await uow.conversations.list(owner, cursor=cursor, limit=limit, search=search)
        assert len(page.items) <= limit
        titles += [conversation.title or "" for conversation in page.items]
        cursor = page.next_cursor
        if cursor is None:
            return titles


async def _get(database: Database, conversation: ConversationRecord) -> ConversationRecord:
    async with database.read() as uow:
        return await uow.conversations.get(conversation.id, conversation.owner)


async def test_a_conversation_is_read_back_as_it_was_created(database: Database) -> None:
    created = await database.write(
        lambda uow: uow.conversations.create(
            owner="k1", title="Привіт 👋", model="starter", settings={"temperature": 0.5, "stop": ["Кінець"]}
        )
    )
    assert is_id("conversation", created.id)
    assert created.settings == {"temperature": 0.5, "stop": ["Кінець"]}
    assert created.num_messages == 0
    assert created.created_at == created.updated_at
    assert created.created_at.utcoffset() == timedelta(0)
    assert await _get(database, created) == created


async def test_another_owner_finds_nothing(database: Database) -> None:
    mine = await new_conversation(database, owner="me", title="secret")
    async with database.read() as uow:
        with pytest.raises(NotFoundError):
            await uow.conversations.get(mine.id, "you")
        assert (await uow.conversations.list("you")).items == ()
        assert (await uow.conversations.list("you", search="secret")).items == ()
    with pytest.raises(NotFoundError):
        await database.write(lambda uow: uow.conversations.update(mine.id, "you", title="stolen"))
    with pytest.raises(NotFoundError):
        await database.write(lambda uow: uow.conversations.delete(mine.id, "you"))
    assert await _get(database, mine) == mine


async def test_the_newest_activity_comes_first(database: Database) -> None:
    first, second, _ = [await new_conversation(database, title=title) for title in ("first", "second", "third")]
    await add_message(database, first, "Hi")
    await database.write(lambda uow: uow.conversations.touch(second.id))
    assert await _list(database) == ["second", "first", "third"]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
async def test_pages_hold_every_conversation_once_whatever_their_size(database: Database, limit: int) -> None:
    for number in range(7):
        await new_conversation(database, title=str(number))
    assert await _list(database, limit=limit) == ["6", "5", "4", "3", "2", "1", "0"]


async def test_conversations_of_one_moment_are_paged_without_loss(database: Database, clock: Clock) -> None:
    for number in range(5):
        await new_conversation(database, title=str(number))
        clock.move(-timedelta(microseconds=1))  # what the next look adds
    assert sorted(await _list(database, limit=2)) == ["0", "1", "2", "3", "4"]


async def test_a_clock_set_back_does_not_bury_a_live_conversation(database: Database, clock: Clock) -> None:
    old = await new_conversation(database, title="old")
    live = await new_conversation(database, title="live")
    clock.move(-timedelta(hours=1))
    await add_message(database, live, "still here")
    assert await _list(database) == ["live", "old"]
    assert (await _get(database, live)).updated_at >= live.updated_at > old.updated_at


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("ЇЖАЧОК", ["Їжачок у тумані"]),
        ("їжачок", ["Їжачок у тумані"]),
        ("ґанок", ["message"]),
        ("ҐАНОК", ["message"]),
        ("hello", ["Hello World"]),
        ("o w", ["Hello World"]),
        ("100%", ["100% sure"]),
        ("100_", []),
        ("%", ["100% sure"]),
        ("_", ["snake_case"]),
        ("\\", ["back\\slash"]),
        ("/", ["sl/ash"]),
        ("'; DROP TABLE conversations; --", []),
        ("👋", ["message"]),
        ("", ["sl/ash", "back\\slash", "snake_case", "100% sure", "message", "Hello World", "Їжачок у тумані"]),
    ],
)
async def test_search_finds_titles_and_messages_in_any_case_and_takes_no_wildcards(
    database: Database, search: str, found: list[str]
) -> None:
    for title in ("Їжачок у тумані", "Hello World"):
        await new_conversation(database, title=title)
    with_message = await new_conversation(database, title="message")
    await add_message(database, with_message, "Стоїть Ґанок 👋")
    await add_message(database, with_message, "і ще один ґанок")  # two hits, one conversation
    for title in ("100% sure", "snake_case", "back\\slash", "sl/ash"):
        await new_conversation(database, title=title)
    assert await _list(database, limit=2, search=search) == found


async def test_search_follows_a_changed_title(database: Database) -> None:
    conversation = await new_conversation(database, title="Старе")
    await database.write(lambda uow: uow.conversations.update(conversation.id, "", title="Нове"))
    assert await _list(database, search="старе") == []
    assert await _list(database, search="НОВЕ") == ["Нове"]


async def test_wrong_listing_arguments_are_refused_by_name(database: Database) -> None:
    async with database.read() as uow:
        for field, arguments in (
            ("cursor", {"cursor": "nonsense"}),
            ("cursor", {"cursor": encode_cursor(2**62, "conv_x")}),  # beyond what a date can hold
            ("limit", {"limit": 0}),
            ("search", {"search": "x" * 201}),
            ("search", {"search": "\x00"}),
        ):
            with pytest.raises(InvalidInputError) as caught:
                await uow.conversations.list("", **arguments)
            assert caught.value.field == field


async def test_an_update_changes_what_is_given_and_nothing_else(database: Database) -> None:
    created = await database.write(
        lambda uow: uow.conversations.create(owner="", title="T", model="m", settings={"top_k": 5})
    )
    await add_message(database, created, "Hi")
    for change, expected in (
        ({"title": "U"}, ("U", "m", {"top_k": 5})),
        ({"model": None}, ("U", None, {"top_k": 5})),
        ({"settings": {"top_p": 1}}, ("U", None, {"top_p": 1})),
        ({"title": None, "settings": {}}, (None, None, {})),
        ({}, (None, None, {})),
    ):
        before = await _get(database, created)
        after = await database.write(lambda uow, change=change: uow.conversations.update(created.id, "", **change))
        assert (after.title, after.model, after.settings) == expected
        assert after.updated_at > before.updated_at
        assert (after.created_at, after.num_messages) == (created.created_at, 1)
        assert await _get(database, created) == after


async def test_text_that_no_database_holds_is_refused_and_nothing_is_written(database: Database) -> None:
    conversation = await new_conversation(database, title="T")
    before = await _get(database, conversation)
    for field, change in (
        ("title", {"title": "a\x00b"}),
        ("title", {"title": "\ud83d"}),
        ("model", {"model": "\udc00"}),
        ("settings", {"settings": {"stop": ["\ud800"]}}),
    ):
        with pytest.raises(InvalidInputError) as caught:
            await database.write(lambda uow, change=change: uow.conversations.update(conversation.id, "", **change))
        assert caught.value.field == field
        with pytest.raises(InvalidInputError):
            await database.write(lambda uow, change=change: uow.conversations.create(owner="", **change))
    assert await _get(database, conversation) == before
    assert await _list(database) == ["T"]


async def test_deleting_takes_everything_that_belongs_to_it_and_nothing_more(database: Database) -> None:
    doomed, kept = await new_turn(database), await new_turn(database)
    for turn in (doomed, kept):
        await database.write(
            lambda uow, turn=turn: uow.idempotency_keys.claim(
                owner="",
                key=turn.conversation.id,
                body_hash="h",
                conversation_id=turn.conversation.id,
                user_message_id=turn.question.id,
                message_id=turn.reply.id,
                generation_id=turn.generation.id,
            )
        )
        await database.write(lambda uow, turn=turn: uow.generations.append_tokens(turn.generation.id, tokens("a")))

    await database.write(lambda uow: uow.conversations.delete(doomed.conversation.id, ""))

    async with database.read() as uow:
        for missing in (
            uow.conversations.get(doomed.conversation.id, ""),
            uow.messages.get(doomed.reply.id, doomed.conversation.id),
            uow.generations.get(doomed.generation.id, ""),
        ):
            with pytest.raises(NotFoundError):
                await missing
        assert await uow.generations.tokens(doomed.generation.id) == []
        assert await uow.idempotency_keys.get("", doomed.conversation.id) is None

        assert (await uow.conversations.get(kept.conversation.id, "")).num_messages == 2
        assert len(await uow.messages.path_to(kept.reply.id)) == 2
        assert await uow.generations.tokens(kept.generation.id) == tokens("a")
        assert await uow.idempotency_keys.get("", kept.conversation.id) is not None


@pytest.mark.slow
async def test_a_conversation_of_more_than_a_thousand_messages_can_be_deleted(database: Database) -> None:
    conversation = await new_conversation(database)

    async def fill(uow) -> None:
        parent_id = None
        for number in range(1100):
            message = await uow.messages.create(
                conversation_id=conversation.id, role="user", content=str(number), parent_id=parent_id
            )
            parent_id = message.id

    await database.write(fill)
    await database.write(lambda uow: uow.conversations.delete(conversation.id, ""))
    assert await _list(database) == []


async def test_what_is_not_there_is_said_to_be_so(database: Database) -> None:
    for work in (
        lambda uow: uow.conversations.touch("conv_x"),
        lambda uow: uow.conversations.delete("conv_x", ""),
        lambda uow: uow.conversations.update("conv_x", "", title="T"),
    ):
        with pytest.raises(NotFoundError) as caught:
            await database.write(work)
        assert caught.value.kind == "conversation"
