"""Stops, kills, restarts and a full disk: what was accepted is kept, and every reply ends honestly."""

import asyncio
from pathlib import Path

import pytest

from gpt2svc.chat.turns import AcceptedTurn
from gpt2svc.errors import StorageFullError
from gpt2svc.generation.events import Done, Failed
from tests.fakes.chat_stack import ChatStack, text_of, until


async def test_a_kill_in_mid_reply_keeps_the_stored_text_and_says_interrupted(tmp_path: Path) -> None:
    killed = ChatStack(tmp_path, flush_interval_s=0.0)
    await killed.start()
    killed.engine.say(" hello there")
    killed.engine.hold_at(4)
    turn = await killed.converse("What now?")
    await killed.wait_for_tokens(turn.generation_id, 2)
    await until(lambda: has_stored(killed, turn, 2))
    seen = [event async for event in limited(killed, turn.generation_id, 4)]
    await killed.crash()

    restarted = ChatStack(tmp_path)
    await restarted.start()
    events = await restarted.events(turn.generation_id)
    assert events[:4] == seen
    failed = events[-1]
    assert isinstance(failed, Failed)
    assert failed.status == "interrupted"
    assert failed.num_tokens == len(events) - 3
    message = await restarted.message(turn)
    assert (message.status, message.content) == ("interrupted", text_of(events))
    page = await restarted.conversations.messages(message.conversation_id, "")
    assert [m.content for m in page.items] == ["What now?", message.content]

    # A viewer that saw more than was kept, or exactly one token more, is told again.
    for cursor in (failed.id - 1, failed.id, 500):
        assert await restarted.supervisor.has_more(turn.generation_id, "", cursor)
        assert await restarted.events(turn.generation_id, cursor) == [failed]

    # The conversation goes on.
    restarted.engine.say(" fine")
    follow_up = await restarted.turns.post(message.conversation_id, "", "Go on")
    assert text_of(await restarted.events(follow_up.generation_id)) == "fine"
    await restarted.stop()


async def test_a_kill_before_the_first_token_leaves_an_interrupted_empty_reply(tmp_path: Path) -> None:
    killed = ChatStack(tmp_path)
    await killed.start()
    killed.engine.hold_at(0)
    turn = await killed.converse()
    await killed.crash()
    restarted = ChatStack(tmp_path)
    await restarted.start()
    assert [event.event for event in await restarted.events(turn.generation_id)] == ["queued", "error"]
    await restarted.stop()


async def test_an_ended_reply_reads_the_same_after_a_restart(tmp_path: Path) -> None:
    first = ChatStack(tmp_path)
    await first.start()
    first.engine.say(" Привіт 👍🏽")
    turn = await first.converse(seed=3, logprobs=1)
    live = await first.events(turn.generation_id)
    await first.stop()
    second = ChatStack(tmp_path)
    await second.start()
    assert await second.events(turn.generation_id) == live
    await second.stop()


async def test_a_reply_that_ended_before_its_first_window_reads_the_same_from_the_rows(tmp_path: Path) -> None:
    stack = ChatStack(tmp_path, flush_interval_s=3600.0)
    await stack.start()
    stack.engine.say("\nUser: an empty reply")
    for _ in range(2):  # the first one opens the window
        turn = await stack.converse()
        live = await stack.events(turn.generation_id)
        await until(lambda: stack.supervisor.num_active == 0)
        assert [event.event for event in live] == ["queued", "started", "done"]
        assert await stack.events(turn.generation_id) == live
    await stack.stop()


async def test_stop_lets_a_running_reply_finish_within_the_drain(tmp_path: Path) -> None:
    stack = ChatStack(tmp_path)
    await stack.start()
    stack.engine.say(" hello there")
    stack.engine.pace_s = 0.001
    turn = await stack.converse()
    viewer = asyncio.create_task(stack.events(turn.generation_id))
    await stack.engine.wait_for_requests(1)
    await stack.supervisor.stop(drain_s=60)
    assert isinstance((await viewer)[-1], Done)
    assert (await stack.message(turn)).content == "hello there"
    await stack.database.close()


async def test_stop_ends_what_does_not_finish_as_interrupted_and_leaves_no_task(tmp_path: Path) -> None:
    before = asyncio.all_tasks()
    stack = ChatStack(tmp_path)
    await stack.start()
    stack.engine.say(" hello there")
    stack.engine.hold_at(3)
    turns = [await stack.converse(f"Number {i}") for i in range(5)]
    viewers = [asyncio.create_task(stack.events(turn.generation_id)) for turn in turns]
    for turn in turns:
        await stack.wait_for_tokens(turn.generation_id, 1)
    await stack.supervisor.stop(drain_s=0.01)
    for turn, viewer in zip(turns, viewers, strict=True):
        events = await viewer
        assert isinstance(events[-1], Failed)
        assert (events[-1].status, events[-1].code) == ("interrupted", "server_stopped")
        message = await stack.message(turn)
        assert (message.status, message.content) == ("interrupted", text_of(events))
    assert not stack.engine.active
    await stack.database.close()
    assert asyncio.all_tasks() == before


async def test_a_full_disk_fails_the_reply_and_tells_the_viewers(stack: ChatStack) -> None:
    stack.engine.say(" hello there, and more")
    stack.engine.hold_at(5)
    turn = await stack.converse()
    await stack.wait_for_tokens(turn.generation_id, 2)
    stack.database.is_full = True
    stack.engine.hold_at(9)
    stack.engine.release()
    stack.engine.hold_at(9)
    failed = (await stack.events(turn.generation_id))[-1]
    assert isinstance(failed, Failed)
    assert (failed.status, failed.code) == ("failed", "storage_full")
    assert (await stack.supervisor.result(turn.generation_id, "")).status == "failed"
    assert stack.admission.num_requests == 0
    with pytest.raises(StorageFullError):
        await stack.converse()

    # With room again the end is stored, and the conversation is free.
    stack.database.is_full = False
    await until(lambda: has_status(stack, turn, "failed"))
    message = await stack.message(turn)
    assert (message.status, message.error) == ("failed", "The disk is full.")
    stack.engine.hold_at(10**6)
    stack.engine.release()
    stack.engine.say(" fine")
    follow_up = await stack.turns.post(message.conversation_id, "", "Again?")
    assert text_of(await stack.events(follow_up.generation_id)) == "fine"


async def test_an_end_that_cannot_be_stored_is_no_done(stack: ChatStack) -> None:
    stack.engine.say(" hello")
    stack.engine.hold_at(1)
    turn = await stack.converse()
    await stack.engine.wait_for_requests(1)
    await until(lambda: has_status(stack, turn, "generating"))
    stack.database.is_full = True
    stack.engine.release()
    events = await stack.events(turn.generation_id)
    assert isinstance(events[-1], Failed)
    assert events[-1].code == "storage_full"
    # At the last, `stop` stores what it can: here the disk has room again by then.
    stack.database.is_full = False
    await stack.supervisor.stop()
    record = await stack.generation(turn)
    assert record.status == "failed"
    assert (await stack.message(turn)).content == text_of(events)


async def test_a_conversation_deleted_under_one_reply_does_not_disturb_the_others(stack: ChatStack) -> None:
    stack.engine.say(" hello there")
    stack.engine.hold_at(3)
    doomed, other = await stack.converse(), await stack.converse()
    for turn in (doomed, other):
        await stack.wait_for_tokens(turn.generation_id, 1)
    conversation_id = (await stack.generation(doomed)).conversation_id
    await stack.database.write(lambda uow: uow.conversations.delete(conversation_id, ""))
    stack.engine.release()
    assert isinstance((await stack.events(other.generation_id))[-1], Done)
    assert (await stack.message(other)).content == "hello there"
    await stack.supervisor.stop()
    assert stack.supervisor.num_active == 0


async def test_many_tokens_cost_few_transactions(tmp_path: Path) -> None:
    stack = ChatStack(tmp_path, flush_interval_s=3600.0)
    await stack.start()
    stack.engine.say(" hello" * 100)
    turns = [await stack.converse(f"Number {i}", max_new_tokens=200) for i in range(4)]
    num_before = stack.database.num_writes
    for turn in turns:
        await stack.supervisor.result(turn.generation_id, "")
    assert stack.database.num_writes - num_before <= 1 + len(turns)  # the first window, and an end each
    await stack.stop()


async def has_stored(stack: ChatStack, turn: AcceptedTurn, num_tokens: int) -> bool:
    return (await stack.generation(turn)).last_seq >= num_tokens


async def has_status(stack: ChatStack, turn: AcceptedTurn, status: str) -> bool:
    return (await stack.generation(turn)).status == status


async def limited(stack: ChatStack, generation_id: str, count: int):  # type: ignore[no-untyped-def]
    async for event in stack.supervisor.events(generation_id, ""):
        yield event
        count -= 1
        if count == 0:
            return
