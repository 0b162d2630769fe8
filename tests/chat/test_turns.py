"""Accepting a message: all of it or nothing, once."""

import asyncio
from pathlib import Path

import pytest

from gpt2svc.chat.prompt import PromptBudget
from gpt2svc.chat.turns import AcceptedTurn
from gpt2svc.errors import (
    ContextWindowError,
    ConversationBusyError,
    Gpt2svcError,
    IdempotencyMismatchError,
    InvalidInputError,
    NotFoundError,
    OverloadedError,
    StorageFullError,
    UnavailableError,
)
from gpt2svc.generation.events import Started
from tests.fakes.chat_stack import ChatStack, text_of


async def contents(stack: ChatStack, conversation_id: str) -> list[tuple[str, str, str]]:
    page = await stack.conversations.messages(conversation_id, "")
    return [(message.role, message.content, message.status) for message in page.items]


async def test_an_accepted_message_is_stored_before_the_reply_begins(stack: ChatStack) -> None:
    stack.engine.hold_at(0)
    conversation = await stack.conversations.create("")
    turn = await stack.turns.post(conversation.id, "", "Hello\nthere", settings={"temperature": 0})
    assert await contents(stack, conversation.id) == [
        ("user", "Hello\nthere", "completed"),
        ("assistant", "", "queued"),
    ]
    message = await stack.message(turn)
    assert message.parent_id == turn.user_message_id
    assert message.generation_id == turn.generation_id
    assert message.model == "tiny"
    assert message.model_revision == stack.engine.revision
    assert message.settings is not None
    assert message.settings["temperature"] == 0
    assert isinstance(message.settings["seed"], int)
    assert not turn.replayed
    assert (await stack.conversations.get(conversation.id, "")).title == "Hello"


async def two_turns(stack: ChatStack) -> tuple[str, AcceptedTurn]:
    """The conversation of "One" and "Two", each answered with " hello", and its first turn."""
    conversation = await stack.conversations.create("")
    stack.engine.say(" hello")
    first = await stack.turns.post(conversation.id, "", "One")
    await stack.supervisor.result(first.generation_id, "")
    second = await stack.turns.post(conversation.id, "", "Two")
    await stack.supervisor.result(second.generation_id, "")
    return conversation.id, first


async def test_the_next_turn_reads_the_conversation_so_far(stack: ChatStack) -> None:
    conversation_id, _ = await two_turns(stack)
    prompt = stack.engine.requests[-1].prompt_token_ids
    assert stack.engine.decode(prompt) == "User: One\nAssistant: hello\nUser: Two\nAssistant:"
    assert (await stack.conversations.get(conversation_id, "")).title == "One"


async def test_history_follows_the_parent(stack: ChatStack) -> None:
    conversation_id, first = await two_turns(stack)
    branch = await stack.turns.post(conversation_id, "", "Other", parent_id=first.message_id)
    await stack.supervisor.result(branch.generation_id, "")
    prompt = stack.engine.decode(stack.engine.requests[-1].prompt_token_ids)
    assert prompt == "User: One\nAssistant: hello\nUser: Other\nAssistant:"


async def test_a_parent_of_another_conversation_is_not_found(stack: ChatStack) -> None:
    stack.engine.say(" hello")
    elsewhere = await stack.converse()
    await stack.supervisor.result(elsewhere.generation_id, "")
    conversation = await stack.conversations.create("")
    with pytest.raises(NotFoundError):
        await stack.turns.post(conversation.id, "", "Hi", parent_id=elsewhere.message_id)
    assert await contents(stack, conversation.id) == []


async def test_dropped_messages_are_listed_in_started(tmp_path: Path) -> None:
    stack = ChatStack(tmp_path, budget=PromptBudget(max_messages=4))
    await stack.start()
    stack.engine.say(" hello")
    conversation = await stack.conversations.create("")
    for i in range(3):
        turn = await stack.turns.post(conversation.id, "", f"Number {i}")
        events = await stack.events(turn.generation_id)
    page = await stack.conversations.messages(conversation.id, "")
    started = events[1]
    assert isinstance(started, Started)
    assert started.dropped_message_ids == tuple(message.id for message in page.items[:2])
    await stack.stop()


async def test_a_second_message_while_a_reply_is_active_names_it(stack: ChatStack) -> None:
    stack.engine.hold_at(0)
    conversation = await stack.conversations.create("")
    turn = await stack.turns.post(conversation.id, "", "One")
    with pytest.raises(ConversationBusyError) as busy:
        await stack.turns.post(conversation.id, "", "Two")
    assert busy.value.generation_id == turn.generation_id
    assert len(await contents(stack, conversation.id)) == 2
    assert stack.admission.num_requests == 1


async def test_of_many_at_once_one_is_accepted(stack: ChatStack) -> None:
    stack.engine.hold_at(0)
    conversation = await stack.conversations.create("")
    outcomes = await asyncio.gather(
        *(stack.turns.post(conversation.id, "", f"Number {i}") for i in range(10)), return_exceptions=True
    )
    assert sum(isinstance(outcome, ConversationBusyError) for outcome in outcomes) == 9
    assert len(await contents(stack, conversation.id)) == 2


async def test_the_same_key_and_body_attach_to_the_first_reply(stack: ChatStack) -> None:
    stack.engine.say(" hello")
    conversation = await stack.conversations.create("")

    async def post():  # type: ignore[no-untyped-def]
        return await stack.turns.post(conversation.id, "", "Hi", settings={"seed": 1}, idempotency_key="k")

    turns = await asyncio.gather(*(post() for _ in range(10)))
    assert len({turn.generation_id for turn in turns}) == 1
    assert sum(not turn.replayed for turn in turns) == 1
    assert text_of(await stack.events(turns[0].generation_id)) == "hello"
    again = await post()
    assert again.replayed
    assert (again.message_id, again.user_message_id) == (turns[0].message_id, turns[0].user_message_id)
    assert len(await contents(stack, conversation.id)) == 2
    assert len(stack.engine.requests) == 1


async def test_the_same_key_with_another_body_is_refused(stack: ChatStack) -> None:
    stack.engine.say(" hello")
    conversation = await stack.conversations.create("")
    turn = await stack.turns.post(conversation.id, "", "Hi", idempotency_key="k")
    await stack.supervisor.result(turn.generation_id, "")
    for changed in ({"content": "Ho"}, {"settings": {"seed": 1}}, {"parent_id": turn.message_id}):
        arguments = {"content": "Hi", **changed}
        with pytest.raises(IdempotencyMismatchError):
            await stack.turns.post(conversation.id, "", **arguments, idempotency_key="k")  # type: ignore[arg-type]
    assert len(await contents(stack, conversation.id)) == 2


async def test_a_key_belongs_to_its_owner(stack: ChatStack) -> None:
    stack.engine.say(" hello")
    turns = []
    for owner in ("ann", "bob"):
        conversation = await stack.conversations.create(owner)
        turns.append(await stack.turns.post(conversation.id, owner, "Hi", idempotency_key="k"))
    assert [turn.replayed for turn in turns] == [False, False]


async def test_a_reply_in_progress_counts_with_its_own_prompt_and_length(stack: ChatStack) -> None:
    stack.engine.hold_at(0)
    turn = await stack.converse("Hi", max_new_tokens=30)
    record = await stack.generation(turn)
    assert (stack.admission.num_requests, stack.admission.num_tokens) == (1, record.prompt_tokens + 30)


async def test_overload_is_refused_with_nothing_written_and_replays_are_not(tmp_path: Path) -> None:
    stack = ChatStack(tmp_path, max_requests=1)
    await stack.start()
    stack.engine.hold_at(0)
    first, second = await stack.conversations.create(""), await stack.conversations.create("")
    turn = await stack.turns.post(first.id, "", "Hi", idempotency_key="k")
    with pytest.raises(OverloadedError) as refusal:
        await stack.turns.post(second.id, "", "Hi")
    assert refusal.value.retry_after_s >= 1
    assert await contents(stack, second.id) == []
    replay = await stack.turns.post(first.id, "", "Hi", idempotency_key="k")
    assert replay.replayed
    assert replay.generation_id == turn.generation_id
    await stack.stop()


@pytest.mark.parametrize(
    ("content", "settings", "error"),
    [
        ("", {}, InvalidInputError),
        (" \n\t ", {}, InvalidInputError),
        ("a\x00b", {}, InvalidInputError),
        ("a\ud800", {}, InvalidInputError),
        ("x" * 100_001, {}, InvalidInputError),
        ("x" * 2000, {}, ContextWindowError),
        ("Hi", {"max_new_tokens": 512}, ContextWindowError),
        ("Hi", {"temperature": float("nan")}, InvalidInputError),
        ("Hi", {"no_such": 1}, InvalidInputError),
        ("Hi", {"logit_bias": {"100000": 1}}, InvalidInputError),
    ],
)
async def test_a_refused_message_leaves_nothing_behind(
    stack: ChatStack, content: str, settings: dict[str, object], error: type[Gpt2svcError]
) -> None:
    conversation = await stack.conversations.create("")
    with pytest.raises(error) as refusal:
        await stack.turns.post(conversation.id, "", content, settings=settings, idempotency_key="k")
    assert refusal.value.field
    assert await contents(stack, conversation.id) == []
    assert (stack.admission.num_requests, stack.admission.num_tokens) == (0, 0)
    assert (await stack.conversations.get(conversation.id, "")).title is None
    stack.engine.say(" hello")
    turn = await stack.turns.post(conversation.id, "", "Hi", idempotency_key="k")  # the key was not used up
    assert not turn.replayed


async def test_another_owners_conversation_is_not_found(stack: ChatStack) -> None:
    conversation = await stack.conversations.create("ann")
    with pytest.raises(NotFoundError):
        await stack.turns.post(conversation.id, "bob", "Hi")
    assert stack.admission.num_requests == 0


async def test_a_full_disk_refuses_the_message(stack: ChatStack) -> None:
    conversation = await stack.conversations.create("")
    stack.database.is_full = True
    with pytest.raises(StorageFullError):
        await stack.turns.post(conversation.id, "", "Hi")
    assert stack.admission.num_requests == 0


async def test_a_model_that_is_still_being_fetched_refuses(stack: ChatStack) -> None:
    conversation = await stack.conversations.create("")
    stack.engine.set_status("downloading", has_tokenizer=False)
    with pytest.raises(UnavailableError):
        await stack.turns.post(conversation.id, "", "Hi")
    assert await contents(stack, conversation.id) == []
    assert stack.admission.num_requests == 0


async def test_a_client_that_leaves_while_it_is_accepted_still_gets_its_reply_made(stack: ChatStack) -> None:
    stack.engine.say(" hello")
    for num_steps in (1, 3, 10, 30):
        conversation = await stack.conversations.create("")
        posting = asyncio.create_task(stack.turns.post(conversation.id, "", "Hi"))
        for _ in range(num_steps):
            await asyncio.sleep(0)
        posting.cancel()
        await asyncio.gather(posting, return_exceptions=True)
        await stack.supervisor.stop()  # waits for what is being accepted, and drains nothing
        rows = await contents(stack, conversation.id)
        assert [row[0] for row in rows] == ["user", "assistant"]
        assert rows[1][2] in ("completed", "interrupted")
        assert stack.admission.num_requests == 0
        await stack.supervisor.start()


async def test_settings_of_the_request_lie_over_the_conversations(stack: ChatStack) -> None:
    stack.engine.say(" hello")
    conversation = await stack.conversations.create("", settings={"temperature": 0.1, "max_length": 7, "seed": 5})
    turn = await stack.turns.post(conversation.id, "", "Hi", settings={"temperature": 0.2, "seed": None})
    settings = (await stack.generation(turn)).settings
    assert (settings["temperature"], settings["max_new_tokens"]) == (0.2, 7)
    params = stack.engine.requests[0].params
    assert (params.temperature, params.max_new_tokens, params.seed) == (0.2, 7, settings["seed"])
    assert params.stop_token_ids == (stack.tokenizer.eos_token_id,)


async def test_a_small_window_gets_a_shorter_reply_unless_the_length_was_set(stack: ChatStack) -> None:
    conversation = await stack.conversations.create("", model="other")
    stack.other_engine.say(" hello")
    turn = await stack.turns.post(conversation.id, "", "Hi", settings={"min_new_tokens": 40})
    await stack.supervisor.result(turn.generation_id, "")
    params = stack.other_engine.requests[0].params
    assert (params.max_new_tokens, params.min_new_tokens) == (32, 32)
    turn = await stack.turns.post(conversation.id, "", "Hi", settings={"max_new_tokens": 10})
    await stack.supervisor.result(turn.generation_id, "")
    assert stack.other_engine.requests[1].params.max_new_tokens == 10


async def test_a_model_that_failed_to_load_takes_no_message(stack: ChatStack) -> None:
    conversation = await stack.conversations.create("")
    stack.engine.fail("The weights are truncated.")
    with pytest.raises(UnavailableError, match="The weights are truncated"):
        await stack.turns.post(conversation.id, "", "Hello")
    async with stack.database.read() as uow:
        assert await uow.messages.last(conversation.id) is None
    assert stack.admission.num_requests == 0
