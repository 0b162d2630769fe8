"""Replies cut by a crash, a restart or the user, and continued: as if nothing had happened."""

from pathlib import Path

import pytest

from gpt2svc.chat.turns import AcceptedTurn
from gpt2svc.generation.events import Queued
from gpt2svc.persistence.records import GenerationRecord, MessageRecord
from tests.fakes.chat_stack import ChatStack, text_of, until

REPLY = " Привіт, hello the world! 👍🏽 Ще\nтрохи"
SETTINGS = {"seed": 11, "max_new_tokens": 200, "frequency_penalty": 0.5, "min_new_tokens": 3}


async def cut_reply(stack: ChatStack, num_tokens: int) -> AcceptedTurn:
    """A reply whose worker dies after so many tokens."""
    stack.engine.say(REPLY)
    stack.engine.hold_at(num_tokens)
    num_before = num_generated(stack)
    turn = await stack.converse("Hi", **SETTINGS)
    await until(lambda: num_generated(stack) == num_before + num_tokens)
    stack.engine.crash()
    await stack.supervisor.result(turn.generation_id, "")
    stack.engine.recover()
    stack.engine.release()
    return turn


def num_generated(stack: ChatStack) -> int:
    return stack.engine.state.stats.num_generated_tokens


async def go_on(stack: ChatStack, turn: AcceptedTurn, num_kept: int, hold_at: int | None = None) -> AcceptedTurn:
    """The engine goes on after `num_kept` tokens of the reply, and dies again after `hold_at` more."""
    conversation_id = (await stack.generation(turn)).conversation_id
    stack.engine.say(stack.engine.encode(REPLY)[num_kept:])
    if hold_at is not None:
        stack.engine.hold_at(hold_at)
    num_before = num_generated(stack)
    following = await stack.turns.continue_reply(conversation_id, "", turn.message_id)
    if hold_at is not None:
        num_left = len(stack.engine.encode(REPLY)) + 1 - num_kept  # with the end token
        await until(lambda: num_generated(stack) == num_before + min(hold_at, num_left))
        stack.engine.crash()
    await stack.supervisor.result(following.generation_id, "")
    stack.engine.recover()
    stack.engine.release()
    return following


async def num_kept_of(stack: ChatStack, turn: AcceptedTurn) -> int:
    async with stack.database.read() as uow:
        prefix = await uow.generations.prefix_tokens(turn.generation_id)
        return len(prefix) + len(await uow.generations.tokens(turn.generation_id))


def described(message: MessageRecord, record: GenerationRecord) -> tuple[object, ...]:
    return message.content, message.status, message.finish_reason, message.usage, message.settings, record.seed


async def test_reply_cut_at_every_token_and_continued_equals_the_uncut_one(stack: ChatStack) -> None:
    stack.engine.say(REPLY)
    uncut = await stack.converse("Hi", **SETTINGS)
    await stack.supervisor.result(uncut.generation_id, "")
    expected = described(await stack.message(uncut), await stack.generation(uncut))
    request = stack.engine.requests[-1]
    for cut in range(1, len(stack.engine.encode(REPLY)), 3):
        first = await cut_reply(stack, cut)
        if not (await stack.message(first)).content:
            continue
        num_kept = await num_kept_of(stack, first)
        second = await go_on(stack, first, num_kept, hold_at=2)
        assert (await stack.message(second)).content.startswith((await stack.message(first)).content.rstrip("\ufffd"))
        third = second
        if (await stack.message(second)).status != "completed":
            third = await go_on(stack, second, await num_kept_of(stack, second))
        assert described(await stack.message(third), await stack.generation(third)) == expected, cut
        last = stack.engine.requests[-1]
        assert last.params == request.params
        assert last.prompt_token_ids[: len(last.prompt_token_ids) - last.num_reply_tokens] == request.prompt_token_ids
        events = await stack.events(third.generation_id)
        assert isinstance(events[0], Queued)
        assert (events[0].prefix_text or "") + text_of(events) == expected[0]


async def test_kill_of_the_service_in_a_continued_reply_keeps_its_beginning(tmp_path: Path) -> None:
    stack = ChatStack(tmp_path, flush_interval_s=0.0)
    await stack.start()
    first = await cut_reply(stack, 9)
    kept = (await stack.message(first)).content
    conversation_id = (await stack.generation(first)).conversation_id
    stack.engine.say(stack.engine.encode(REPLY)[await num_kept_of(stack, first) :])
    stack.engine.hold_at(12)
    second = await stack.turns.continue_reply(conversation_id, "", first.message_id)
    assert (await stack.message(second)).content == kept.rstrip("\ufffd")  # at once, before the first token
    await stack.wait_for_tokens(second.generation_id, 4)
    before = await num_kept_of(stack, first)

    async def has_stored() -> bool:
        return await num_kept_of(stack, second) >= before + 4

    await until(has_stored)
    await stack.crash()
    restarted = ChatStack(tmp_path)
    await restarted.start()
    message = await restarted.message(second)
    assert message.status == "interrupted"
    events = await restarted.events(second.generation_id)
    assert isinstance(events[0], Queued)
    assert message.content == (events[0].prefix_text or "") + text_of(events)
    assert len(message.content) > len(kept)
    whole = await go_on(restarted, second, await num_kept_of(restarted, second))
    assert (await restarted.message(whole)).content == REPLY.strip()
    await restarted.stop()


@pytest.mark.parametrize("content", ["Own words", " \u0041\n---", "tail\ufffd"])
async def test_text_without_tokens_is_read_as_it_stands(stack: ChatStack, content: str) -> None:
    stack.engine.say(" hello")
    turn = await stack.converse("Hi")
    await stack.supervisor.result(turn.generation_id, "")
    conversation_id = (await stack.generation(turn)).conversation_id
    edited = await stack.edits.edit(conversation_id, "", turn.message_id, content)
    stack.engine.say(" and on")
    following = await stack.turns.continue_reply(conversation_id, "", edited.message.id)
    await stack.supervisor.result(following.generation_id, "")
    assert (await stack.message(following)).content == content + " and on"
    request = stack.engine.requests[-1]
    assert stack.engine.decode(request.prompt_token_ids) == f"User: Hi\nAssistant: {content}"
    again = await stack.turns.continue_reply(conversation_id, "", following.message_id)
    await stack.supervisor.result(again.generation_id, "")
    assert (await stack.message(again)).content == content + " and on and on"
