"""Viewers of a generation come, go and come back with a cursor; the generation knows nothing of that."""

import asyncio

from gpt2svc.generation.events import Queued
from tests.fakes.chat_stack import ChatStack, text_of, until

"""Viewers of a generation come, go and come back with a cursor; the generation knows nothing of that."""


REPLY = " Привіт! Hello there, як справи? 👍🏽\nUser: not this"
TEXT = "Привіт! Hello there, як справи? 👍🏽"


async def test_cut_at_each_event_and_resumed_gives_the_same_text(stack: ChatStack) -> None:
    stack.engine.say(REPLY)
    stack.engine.pace_s = 0.001
    turn = await stack.converse()

    async def view_with_cut(num_before_cut: int) -> tuple[str, list[str]]:
        seen = []
        viewer = stack.supervisor.events(turn.generation_id, "")
        async for event in viewer:
            if num_before_cut == 0:
                break
            seen.append(event)
            num_before_cut -= 1
        await viewer.aclose()
        cursor = next((event.id for event in reversed(seen) if event.id is not None), None)
        rest = await stack.events(turn.generation_id, cursor)
        return text_of([*seen, *rest]), [event.event for event in rest]

    num_events = 3 + len(run_ids(stack))
    views = await asyncio.gather(*(view_with_cut(cut) for cut in range(num_events + 1)))
    await until(lambda: stack.supervisor.num_active == 0)
    views += [await view_with_cut(cut) for cut in range(num_events + 1)]
    assert {text for text, _ in views} == {TEXT}
    for cut, (_, names) in enumerate(views[: num_events + 1]):
        assert (cut, names) == (cut, views[num_events + 1 + cut][1])  # live or from the rows: the same
        assert names[-1:] == (["done"] if cut < num_events else [])  # whoever has the end gets nothing more


async def test_a_viewer_that_has_the_done_event_has_no_more_to_get(stack: ChatStack) -> None:
    stack.engine.say(" Hi")
    turn = await stack.converse()
    done = (await stack.events(turn.generation_id))[-1]
    assert done.id is not None
    await until(lambda: stack.supervisor.num_active == 0)
    assert await stack.supervisor.has_more(turn.generation_id, "", None)
    assert await stack.supervisor.has_more(turn.generation_id, "", done.id - 1)
    assert not await stack.supervisor.has_more(turn.generation_id, "", done.id)
    assert await stack.events(turn.generation_id, done.id - 1) == [done]


async def test_a_slow_viewer_holds_nothing_up(stack: ChatStack) -> None:
    stack.engine.say(" hello there")
    turn = await stack.converse()
    slow = stack.supervisor.events(turn.generation_id, "")
    assert isinstance(await anext(slow), Queued)
    record = await stack.supervisor.result(turn.generation_id, "")
    assert record.status == "completed"
    assert text_of([event async for event in slow]) == "hello there"


async def test_leaving_before_the_first_event_does_not_stop_the_reply(stack: ChatStack) -> None:
    stack.engine.say(" hello")
    turn = await stack.converse()
    assert (await stack.supervisor.result(turn.generation_id, "")).status == "completed"
    assert (await stack.message(turn)).content == "hello"


async def test_two_hundred_viewers_that_leave_hold_nothing(stack: ChatStack) -> None:
    stack.engine.say(" hello there")
    stack.engine.hold_at(4)
    turn = await stack.converse()
    await stack.wait_for_tokens(turn.generation_id, 2)
    await until(lambda: stack.database.num_checked_out == 0)
    before = asyncio.all_tasks()
    viewers = [asyncio.create_task(stack.events(turn.generation_id)) for _ in range(200)]
    for _ in range(5):
        await asyncio.sleep(0)
    for viewer in viewers:
        viewer.cancel()
    await asyncio.gather(*viewers, return_exceptions=True)
    await until(lambda: asyncio.all_tasks() == before)
    await until(lambda: stack.database.num_checked_out == 0)
    stack.engine.release()
    assert text_of(await stack.events(turn.generation_id)) == "hello there"


def run_ids(stack: ChatStack) -> list[int]:
    """The tokens of REPLY that are published."""
    return stack.tokenizer.encode(REPLY.split("\n")[0])
