"""A reply ends when its client waits no longer: not begun before its turn, and kept as far as it was written."""

import time

from gpt2svc.generation.events import Failed
from gpt2svc.request_context import deadline_context
from tests.fakes.chat_stack import ChatStack


async def test_a_deadline_that_has_passed_leaves_the_model_alone(stack: ChatStack) -> None:
    with deadline_context(time.monotonic() - 1):
        turn = await stack.converse()
    [*_, end] = await stack.events(turn.generation_id)
    assert isinstance(end, Failed)
    assert (end.status, end.code, end.num_tokens) == ("failed", "deadline_exceeded", 0)
    assert stack.engine.requests == []
    assert stack.admission.num_requests == 0


async def test_a_reply_that_waits_for_its_turn_past_the_deadline_is_not_begun(stack: ChatStack) -> None:
    stack.engine.hold_at(0)
    with deadline_context(time.monotonic() + 0.05):
        turn = await stack.converse()
    record = await stack.supervisor.result(turn.generation_id, "")
    assert (record.status, record.error_code) == ("failed", "deadline_exceeded")
    assert stack.engine.aborted == [request.request_id for request in stack.engine.requests]
    assert record.usage is not None
    assert record.usage["completion_tokens"] == 0


async def test_a_reply_in_progress_keeps_what_it_has_and_can_be_continued(stack: ChatStack) -> None:
    seconds = 0.25
    while True:
        stack.engine.say("One two three four five six")
        stack.engine.hold_at(3)
        with deadline_context(time.monotonic() + seconds):
            turn = await stack.converse()
        record = await stack.supervisor.result(turn.generation_id, "")
        message = await stack.message(turn)
        if message.content:
            break
        seconds *= 4  # a busy machine came to no token in that time
    assert (record.status, record.finish_reason, record.error_code) == ("interrupted", "abort", "deadline_exceeded")
    assert message.content
    assert "One two three four five six".startswith(message.content)
    assert stack.engine.aborted[-1] == turn.generation_id


async def test_a_reply_that_is_in_time_hears_nothing_of_it(stack: ChatStack) -> None:
    with deadline_context(time.monotonic() + 60):
        turn = await stack.converse()
    assert (await stack.supervisor.result(turn.generation_id, "")).status == "completed"


async def test_the_position_counts_only_what_gets_its_turn_before(stack: ChatStack) -> None:
    stack.engine.hold_at(0)
    positions = []
    for owner in ("key_a", "key_a", "key_a", "key_b", "key_b", "key_a"):
        turn = await stack.converse(owner=owner)
        async for event in stack.supervisor.events(turn.generation_id, owner):
            positions.append(getattr(event, "position", None))
            break
    # Taken in turns: a b a b a a; at a tie the older one.
    assert positions == [0, 1, 2, 1, 3, 5]
    stack.engine.release()
