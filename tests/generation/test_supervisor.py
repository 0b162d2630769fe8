"""A generation's life, on a real file: it always ends, once, and what was seen is what is stored."""

import asyncio

import pytest

from gpt2svc.errors import NotFoundError, UnavailableError
from gpt2svc.generation.events import Done, Failed, Queued, Started, Token
from tests.fakes.chat_stack import ChatStack, text_of, until

"""A generation's life, on a real file: it always ends, once, and what was seen is what is stored."""


"""A generation's life, on a real file: it always ends, once, and what was seen is what is stored."""


REPLY = " Привіт! Hello there, як справи? 👍🏽\nUser: not this"
TEXT = "Привіт! Hello there, як справи? 👍🏽"


async def test_events_come_in_order_and_their_text_is_what_is_stored(stack: ChatStack) -> None:
    stack.engine.say(REPLY)
    turn = await stack.converse(seed=7)
    events = await stack.events(turn.generation_id)

    queued, started, *tokens, done = events
    assert queued == Queued(
        turn.generation_id, (await stack.generation(turn)).conversation_id, turn.message_id, turn.user_message_id, 0
    )
    assert isinstance(started, Started)
    assert started.seed == 7
    assert started.prompt_tokens == len(stack.tokenizer.encode("User: Hello there\nAssistant:"))
    assert started.settings["seed"] == 7
    assert [token.id for token in tokens] == list(range(1, len(tokens) + 1))
    assert isinstance(done, Done)
    assert done.id == len(tokens) + 1
    assert (done.status, done.finish_reason) == ("completed", "stop")
    assert text_of(events) == TEXT

    message = await stack.message(turn)
    record = await stack.generation(turn)
    assert message.content == TEXT
    assert message.status == record.status == "completed"
    assert message.usage == record.usage == done.usage
    assert record.last_seq == len(tokens)
    assert record.timings == done.timings
    assert set(done.timings) >= {"queued", "prefill", "total"}


async def test_a_turn_marker_aborts_the_engine_at_once_and_its_tokens_are_counted(stack: ChatStack) -> None:
    stack.engine.say(" Hi\nUser: and a lot more that nobody needs")
    turn = await stack.converse()
    done = (await stack.events(turn.generation_id))[-1]
    await stack.engine.wait_until_idle()
    assert stack.engine.aborted == [turn.generation_id]
    assert isinstance(done, Done)
    assert done.usage["completion_tokens"] == len(stack.tokenizer.encode(" Hi\nUser:"))
    assert done.usage["total_tokens"] == done.usage["prompt_tokens"] + done.usage["completion_tokens"]


@pytest.mark.parametrize("tokens_per_step", [2, 3, 4, 50])
async def test_steps_of_several_tokens_bring_the_same_events(stack: ChatStack, tokens_per_step: int) -> None:
    told = []
    for count in (1, tokens_per_step):
        stack.engine.tokens_per_step = count
        for reply in (" Hi\nUser: and a lot more that nobody needs", " Hello, 👍 you", " a\u00a0\n b  "):
            stack.engine.say(reply)
            turn = await stack.converse()
            events = await stack.events(turn.generation_id)
            done = events[-1]
            assert isinstance(done, Done)
            tokens = [(event.id, event.text, event.token_id) for event in events if isinstance(event, Token)]
            told.append((tokens, done.id, done.finish_reason, done.usage["completion_tokens"]))
    assert told[:3] == told[3:]


async def test_an_end_token_is_counted_and_never_shown(stack: ChatStack) -> None:
    stack.engine.say(" Hi")
    turn = await stack.converse()
    *_, last, done = await stack.events(turn.generation_id)
    assert isinstance(last, Token)
    assert isinstance(done, Done)
    assert done.finish_reason == "stop"
    assert done.usage["completion_tokens"] == len(stack.tokenizer.encode(" Hi")) + 1
    assert (await stack.message(turn)).content == "Hi"


async def test_an_end_token_is_no_token_of_the_text_after_an_unfinished_character(stack: ChatStack) -> None:
    unfinished = stack.engine.encode(" 👍")[:-1]
    stack.engine.say(unfinished)
    turn = await stack.converse()
    tokens = [event for event in await stack.events(turn.generation_id) if isinstance(event, Token)]
    assert [token.token_id for token in tokens] == list(unfinished)
    assert tokens[-1].text == "\ufffd"


async def test_the_length_limit_ends_with_length(stack: ChatStack) -> None:
    stack.engine.say(" one two three four")
    turn = await stack.converse(max_new_tokens=5)
    done = (await stack.events(turn.generation_id))[-1]
    assert isinstance(done, Done)
    assert done.finish_reason == "length"
    assert done.usage["completion_tokens"] == 5


async def test_an_empty_reply_is_completed_without_tokens(stack: ChatStack) -> None:
    stack.engine.say("\nUser: me")
    turn = await stack.converse()
    assert [event.event for event in await stack.events(turn.generation_id)] == ["queued", "started", "done"]
    assert (await stack.message(turn)).content == ""


async def test_logprobs_come_with_each_token_and_survive_the_store(stack: ChatStack) -> None:
    stack.engine.say(" hello")
    turn = await stack.converse(logprobs=2)
    live = await stack.events(turn.generation_id)
    token = live[2]
    assert isinstance(token, Token)
    assert token.data["logprob"] == -0.5
    assert [set(top) for top in token.data["top_logprobs"]] == [{"token_id", "text", "logprob"}] * 2
    await until(lambda: stack.supervisor.num_active == 0)
    assert await stack.events(turn.generation_id) == live


async def test_cancel_keeps_the_text_and_stops_the_engine(stack: ChatStack) -> None:
    stack.engine.say(" hello there\nUser:")
    stack.engine.hold_at(4)
    turn = await stack.converse()
    await stack.wait_for_tokens(turn.generation_id, 2)
    record = await stack.supervisor.cancel(turn.generation_id, "")
    assert (record.status, record.finish_reason) == ("cancelled", "abort")
    events = await stack.events(turn.generation_id)
    assert isinstance(events[-1], Done)
    assert events[-1].status == "cancelled"
    message = await stack.message(turn)
    assert message.content == text_of(events) != ""
    assert stack.engine.aborted == [turn.generation_id]
    assert stack.admission.num_requests == 0


async def test_cancel_while_queued_ends_without_tokens(stack: ChatStack) -> None:
    stack.engine.set_status("loading")
    turn = await stack.converse()
    await stack.engine.wait_for_requests(1)
    assert stack.supervisor.num_queued == 1
    await stack.supervisor.cancel(turn.generation_id, "")
    assert [event.event for event in await stack.events(turn.generation_id)] == ["queued", "done"]


async def test_cancel_of_an_ended_reply_changes_nothing(stack: ChatStack) -> None:
    stack.engine.say(" Hi")
    turn = await stack.converse()
    await stack.supervisor.result(turn.generation_id, "")
    assert (await stack.supervisor.cancel(turn.generation_id, "")).status == "completed"


@pytest.mark.parametrize("num_steps", range(0, 12, 2))
async def test_a_race_of_cancel_and_completion_has_one_end(stack: ChatStack, num_steps: int) -> None:
    stack.engine.say(" hello")
    turn = await stack.converse()
    for _ in range(num_steps):
        await asyncio.sleep(0)
    record = await stack.supervisor.cancel(turn.generation_id, "")
    events = await stack.events(turn.generation_id)
    assert sum(isinstance(event, Done | Failed) for event in events) == 1
    assert isinstance(events[-1], Done)
    assert events[-1].status == record.status == (await stack.message(turn)).status
    assert text_of(events) == (await stack.message(turn)).content


async def test_a_crash_of_the_worker_interrupts_and_keeps_the_text(stack: ChatStack) -> None:
    stack.engine.say(" hello there")
    stack.engine.hold_at(3)
    turn = await stack.converse()
    await stack.wait_for_tokens(turn.generation_id, 2)
    stack.engine.crash()
    events = await stack.events(turn.generation_id)
    failed = events[-1]
    assert isinstance(failed, Failed)
    assert (failed.status, failed.code, failed.num_tokens) == ("interrupted", "worker_crashed", len(events) - 3)
    message = await stack.message(turn)
    assert message.status == "interrupted"
    assert message.content == text_of(events) != ""


async def test_an_unavailable_model_fails_the_reply(stack: ChatStack) -> None:
    stack.engine.set_status("loading")
    turn = await stack.converse()
    await stack.engine.wait_for_requests(1)
    stack.engine.fail("The weights are truncated.")
    failed = (await stack.events(turn.generation_id))[-1]
    assert isinstance(failed, Failed)
    assert (failed.status, failed.code, failed.message) == ("failed", "model_unavailable", "The weights are truncated.")
    assert (await stack.message(turn)).status == "failed"
    assert stack.admission.num_requests == 0


async def test_an_unexpected_error_fails_the_reply_without_its_details(
    stack: ChatStack, caplog: pytest.LogCaptureFixture
) -> None:
    stack.engine.say([2**40])  # no id of any vocabulary
    stack.tokenizer.spell = lambda token_ids, after=None: 1 / 0  # type: ignore[assignment,method-assign,return-value]
    turn = await stack.converse()
    failed = (await stack.events(turn.generation_id))[-1]
    assert isinstance(failed, Failed)
    assert (failed.status, failed.code) == ("failed", "internal_error")
    assert "division" not in failed.message
    assert "ZeroDivisionError" in caplog.text


async def test_another_owners_generation_is_not_found(stack: ChatStack) -> None:
    stack.engine.hold_at(1)
    turn = await stack.converse(owner="ann")
    for call in (
        stack.supervisor.cancel(turn.generation_id, "bob"),
        stack.supervisor.result(turn.generation_id, "bob"),
        stack.supervisor.has_more(turn.generation_id, "bob", None),
        stack.events(turn.generation_id, owner="bob"),
    ):
        with pytest.raises(NotFoundError):
            await call
    stack.engine.release()
    assert (await stack.supervisor.result(turn.generation_id, "ann")).status == "completed"


async def test_a_hundred_at_once_all_end_and_leave_nothing_behind(stack: ChatStack) -> None:
    before = asyncio.all_tasks()
    turns = await asyncio.gather(*(stack.converse(f"Number {i}", max_new_tokens=30) for i in range(100)))
    all_events = await asyncio.gather(*(stack.events(turn.generation_id) for turn in turns))
    for i, (turn, events) in enumerate(zip(turns, all_events, strict=True)):
        # The engine echoes the prompt, whose first label is a turn marker only at a reply's beginning.
        assert isinstance(events[-1], Done), i
        assert (await stack.message(turn)).content == text_of(events)
    await until(lambda: asyncio.all_tasks() == before)
    await until(lambda: stack.database.num_checked_out == 0)
    assert (stack.admission.num_requests, stack.admission.num_tokens) == (0, 0)


async def test_positions_count_the_replies_that_wait(stack: ChatStack) -> None:
    stack.engine.hold_at(0)
    first, second = await stack.converse(), await stack.converse()
    queued = [await anext(stack.supervisor.events(turn.generation_id, "")) for turn in (first, second)]
    assert [event.position for event in queued if isinstance(event, Queued)] == [0, 1]


async def test_jobs_are_refused_before_start_and_after_stop(stack: ChatStack) -> None:
    conversation = await stack.conversations.create("")
    await stack.supervisor.stop()
    with pytest.raises(UnavailableError):
        await stack.turns.post(conversation.id, "", "Hello")
    assert (await stack.conversations.messages(conversation.id, "")).items == ()
