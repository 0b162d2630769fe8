"""Post-processing and beam search as settings of a conversation's replies."""

from typing import Any

import pytest

from gpt2svc.chat.turns import AcceptedTurn
from gpt2svc.errors import InvalidInputError
from gpt2svc.generation.events import Queued
from tests.fakes.chat_stack import ChatStack, text_of, until

REPLY = " One two three four one two three four. Так! 👍🏽 It is 3.14 metres. And then"
BOTH = {"collapse_repeats": True, "trim_to_sentence": True}


async def ended(stack: ChatStack, **settings: Any) -> AcceptedTurn:
    turn = await stack.converse("Hi", **settings)
    await stack.supervisor.result(turn.generation_id, "")
    return turn


async def test_stored_text_is_that_of_the_token_events_and_usage_counts_what_was_dropped(stack: ChatStack) -> None:
    stack.engine.say(" a b c d\na b c d\na b c d\nIt is. And so")
    turn = await ended(stack, max_new_tokens=200, **BOTH)
    message = await stack.message(turn)
    events = await stack.events(turn.generation_id)
    assert message.content == "a b c d\nIt is." == text_of(events)
    assert message.usage is not None
    assert (
        message.usage["completion_tokens"] == len(stack.engine.encode(" a b c d\na b c d\na b c d\nIt is. And so")) + 1
    )
    assert message.settings is not None
    assert message.settings["collapse_repeats"] is message.settings["trim_to_sentence"] is True


async def test_reply_without_post_processing_stays_as_it_is(stack: ChatStack) -> None:
    stack.engine.say(" a b c d\na b c d\nIt is. And so")
    assert (await stack.message(await ended(stack))).content == "a b c d\na b c d\nIt is. And so"


async def num_kept_of(stack: ChatStack, turn: AcceptedTurn) -> int:
    async with stack.database.read() as uow:
        prefix = await uow.generations.prefix_tokens(turn.generation_id)
        return len(prefix) + len(await uow.generations.tokens(turn.generation_id))


async def cut_reply(stack: ChatStack, reply: str, num_tokens: int) -> AcceptedTurn:
    """A reply whose worker dies after so many tokens."""
    stack.engine.say(reply)
    stack.engine.hold_at(num_tokens)
    num_expected = stack.engine.state.stats.num_generated_tokens + num_tokens
    turn = await stack.converse("Hi", max_new_tokens=200, **BOTH)
    await until(lambda: stack.engine.state.stats.num_generated_tokens == num_expected)
    stack.engine.crash()
    await stack.supervisor.result(turn.generation_id, "")
    stack.engine.recover()
    stack.engine.release()
    return turn


@pytest.mark.parametrize("reply", [REPLY, " a b c d a b c d a b c d. Ні! А ще", " no end to it"])
async def test_reply_cut_by_a_crash_and_continued_equals_the_uncut_one(stack: ChatStack, reply: str) -> None:
    stack.engine.say(reply)
    uncut = await ended(stack, max_new_tokens=200, **BOTH)
    expected = (await stack.message(uncut)).content
    for cut in range(3, len(stack.engine.encode(reply)), 7):
        first = await cut_reply(stack, reply, cut)
        kept = await stack.message(first)
        if not kept.content:
            continue
        stack.engine.say(stack.engine.encode(reply)[await num_kept_of(stack, first) :])
        second = await stack.turns.continue_reply(kept.conversation_id, "", first.message_id)
        await stack.supervisor.result(second.generation_id, "")
        assert (await stack.message(second)).content == expected, cut
        events = await stack.events(second.generation_id)
        assert isinstance(events[0], Queued)
        assert (events[0].prefix_text or "") + text_of(events) == expected


async def test_reply_cut_at_its_length_goes_on_from_the_sentence_that_was_kept(stack: ChatStack) -> None:
    stack.engine.say(" It is so. And then it")
    num_made = len(stack.engine.encode(" It is so. And then"))
    first = await ended(stack, max_new_tokens=num_made, trim_to_sentence=True)
    assert (await stack.message(first)).content == "It is so."
    num_kept = await num_kept_of(stack, first)
    conversation_id = (await stack.message(first)).conversation_id
    stack.engine.say(stack.engine.encode(" It is so. And then it was.")[num_kept:])
    second = await stack.turns.continue_reply(conversation_id, "", first.message_id)
    await stack.supervisor.result(second.generation_id, "")
    assert (await stack.message(second)).content == "It is so. And then it was."
    request = stack.engine.requests[-1]
    assert request.num_reply_tokens == num_kept
    assert request.params.max_new_tokens == num_made + 100  # beside what is made a second time


async def test_beams_are_a_setting_and_what_they_leave_out_is_stored_as_off(stack: ChatStack) -> None:
    stack.engine.say(" yes")
    turn = await ended(stack, num_beams=4, early_stopping="never", length_penalty=0.5)
    params = stack.engine.requests[-1].params
    assert (params.num_beams, params.early_stopping, params.length_penalty) == (4, "never", 0.5)
    message = await stack.message(turn)
    assert message.content == "yes"
    assert message.settings is not None
    assert (message.settings["temperature"], message.settings["top_k"], message.settings["num_beams"]) == (0.0, 0, 4)


@pytest.mark.parametrize(
    ("kept", "asked", "field"),
    [
        ({}, {"num_beams": 4, "temperature": 0.5}, "temperature"),
        ({"num_beams": 4}, {"top_p": 0.5}, "top_p"),
        ({}, {"num_beams": 9}, "num_beams"),
        ({}, {"num_beam_groups": 2}, "num_beam_groups"),
        ({}, {"length_penalty": 2.0}, "length_penalty"),
    ],
)
async def test_what_can_not_be_heeded_is_refused_by_name(
    stack: ChatStack, kept: dict[str, Any], asked: dict[str, Any], field: str
) -> None:
    conversation = await stack.conversations.create("", settings=kept)
    with pytest.raises(InvalidInputError) as caught:
        await stack.turns.post(conversation.id, "", "Hi", settings=asked)
    assert caught.value.field == f"settings.{field}"
    assert stack.engine.requests == []


async def test_a_conversation_that_draws_may_have_a_reply_by_beams(stack: ChatStack) -> None:
    conversation = await stack.conversations.create("", settings={"temperature": 0.9})
    turn = await stack.turns.post(conversation.id, "", "Hi", settings={"num_beams": 2})
    await stack.supervisor.result(turn.generation_id, "")
    assert stack.engine.requests[-1].params.num_beams == 2
    changed = await stack.conversations.update(
        conversation.id, "", {"settings": {"num_beams": 4, "num_beam_groups": 2}}
    )
    assert changed.settings == {"temperature": 0.9, "num_beams": 4, "num_beam_groups": 2}
    with pytest.raises(InvalidInputError, match="does nothing in a beam search"):
        await stack.conversations.update(conversation.id, "", {"settings": {"temperature": 0.5}})
