"""/v1/responses without their client: in the background, cut and read on, cancelled, deleted, after a restart."""

import asyncio
from collections.abc import Callable
from typing import Any

import openai
import pytest
from fastapi import FastAPI

from gpt2svc.app import create_app, services_of_app
from gpt2svc.config import Settings
from tests.api.conftest import sdk_of
from tests.api.v1_responses import events_of, read_deltas, read_events, row_counts, text_of, types_of
from tests.fakes.chat_stack import until
from tests.fakes.engine import ScriptedEngine, ScriptedPool
from tests.fakes.running_app import running


async def test_a_response_in_the_background_is_queued_at_once_and_written_without_its_client(
    sdk: Any, engine: ScriptedEngine
) -> None:
    engine.hold_at(1)
    created = await sdk.responses.create(model="tiny", input="Hi", background=True)
    assert (created.status, created.background, created.output) == ("queued", True, [])

    async def has_status(status: str) -> bool:
        return (await sdk.responses.retrieve(created.id)).status == status

    await until(lambda: has_status("in_progress"))
    engine.release()
    await until(lambda: has_status("completed"))
    assert (await sdk.responses.retrieve(created.id)).output_text == "Hello there"


async def test_a_background_stream_that_was_cut_is_taken_up_where_it_stopped(sdk: Any, engine: ScriptedEngine) -> None:
    engine.say("one two three four five")
    engine.hold_at(3)
    stream = await sdk.responses.create(model="tiny", input="Hi", background=True, stream=True)
    seen = await read_deltas(stream, 1)
    assert types_of(seen)[:3] == ["response.created", "response.queued", "response.in_progress"]
    identifier = seen[0].response.id
    await stream.close()
    engine.release()
    await engine.wait_until_idle()
    rest = await events_of(
        await sdk.responses.retrieve(identifier, stream=True, starting_after=seen[-1].sequence_number)
    )
    assert text_of(seen) + text_of(rest) == "one two three four five"
    assert [event.sequence_number for event in [*seen, *rest]] == list(range(len(seen) + len(rest)))
    assert rest[-1].type == "response.completed"
    everything = await events_of(await sdk.responses.retrieve(identifier, stream=True))
    assert everything == [*seen, *rest]
    end = everything[-1].sequence_number
    assert await events_of(await sdk.responses.retrieve(identifier, stream=True, starting_after=end)) == []


@pytest.mark.parametrize("is_stream", [True, False])
async def test_a_client_that_leaves_cancels_its_response_unless_it_may_come_back(
    sdk: Any, services: Any, engine: ScriptedEngine, is_stream: bool
) -> None:
    engine.hold_at(1)

    async def leave(headers: dict[str, str]) -> None:
        num_before = len(engine.requests)
        asking = sdk.responses.create(model="tiny", input="Hi", stream=is_stream, extra_headers=headers)
        leaving = asyncio.ensure_future(read_events(asking))
        await engine.wait_for_requests(num_before + 1)
        leaving.cancel()
        await asyncio.wait([leaving])

    await leave({})
    await until(lambda: services.admission.num_requests == 0)
    assert len(engine.aborted) == 1
    await leave({"Idempotency-Key": "k"})
    engine.release()
    await engine.wait_until_idle()
    back = await sdk.responses.create(
        model="tiny", input="Hi", stream=is_stream, extra_headers={"Idempotency-Key": "k"}
    )
    text = text_of(await events_of(back)) if is_stream else back.output_text
    assert text == "Hello there"
    assert (len(engine.requests), len(engine.aborted)) == (2, 1)
    with pytest.raises(openai.BadRequestError) as refused:
        await sdk.responses.create(model="tiny", input="Ho", extra_headers={"Idempotency-Key": "k"})
    assert refused.value.code == "idempotency_mismatch"


async def test_cancel_keeps_what_was_written_and_can_be_repeated(sdk: Any, engine: ScriptedEngine) -> None:
    engine.say("one two three four five")
    engine.hold_at(4)
    stream = await sdk.responses.create(model="tiny", input="Hi", background=True, stream=True)
    seen = await read_deltas(stream, 2)
    cancelled = await sdk.responses.cancel(seen[0].response.id)
    assert cancelled.status == "cancelled"
    assert "one two three four five".startswith(cancelled.output_text)
    assert cancelled.output_text
    assert await sdk.responses.cancel(cancelled.id) == cancelled
    rest = await events_of(stream)
    assert text_of([*seen, *rest]) == cancelled.output_text
    last: Any = rest[-1]
    assert (last.type, last.response) == ("response.incomplete", cancelled)


async def test_a_response_cannot_follow_one_that_is_being_written(sdk: Any, engine: ScriptedEngine) -> None:
    engine.hold_at(1)
    first = await sdk.responses.create(model="tiny", input="Hi", background=True)
    with pytest.raises(openai.BadRequestError) as refused:
        await sdk.responses.create(model="tiny", input="More", previous_response_id=first.id)
    assert refused.value.param == "previous_response_id"


async def test_delete_takes_a_response_in_progress_with_it(sdk: Any, services: Any, engine: ScriptedEngine) -> None:
    engine.hold_at(1)
    async with services.database.read() as uow:
        before = await row_counts(uow)
    created = await sdk.responses.create(model="tiny", input="Hi", background=True)
    await sdk.responses.delete(created.id)
    await engine.wait_until_idle()
    for call in (sdk.responses.retrieve, sdk.responses.cancel, sdk.responses.delete, sdk.responses.input_items.list):
        with pytest.raises(openai.NotFoundError):
            await call(created.id)
    async with services.database.read() as uow:
        assert await row_counts(uow) == before


async def test_a_crash_of_the_model_is_an_honest_end(sdk: Any, engine: ScriptedEngine) -> None:
    engine.say("one two three four five")
    engine.hold_at(3)
    stream = await sdk.responses.create(model="tiny", input="Hi", background=True, stream=True)
    seen = await read_deltas(stream, 1)
    engine.crash()
    last: Any = (await events_of(stream))[-1]
    assert (last.type, last.response.status, last.response.error.code) == (
        "response.failed",
        "failed",
        "worker_crashed",
    )
    assert last.response == await sdk.responses.retrieve(seen[0].response.id)
    assert last.response.output[0].status == "incomplete"


async def test_a_response_outlives_a_restart_with_its_numbers(
    make_app: Callable[..., FastAPI], pool: ScriptedPool, engine: ScriptedEngine
) -> None:
    app = make_app(drain_s=0)
    engine.say("one two three four five")
    async with running(app) as url, sdk_of(url) as sdk:
        done = await events_of(await sdk.responses.create(model="tiny", input="Hi", stream=True))
        engine.hold_at(3)
        stream = await sdk.responses.create(model="tiny", input="Hi", background=True, stream=True)
        cut = await read_deltas(stream, 1)
        await stream.close()
    settings = services_of_app(app).settings
    async with running(create_app(Settings(**settings.model_dump()), engines=pool)) as url, sdk_of(url) as sdk:
        identifier = done[0].response.id
        for after in (0, 4, 6):
            rest = await events_of(await sdk.responses.retrieve(identifier, stream=True, starting_after=after))
            assert rest == done[after + 1 :]
        ended = await sdk.responses.retrieve(cut[0].response.id)
        assert ended.status == "failed"
        assert ended.error is not None
        assert ended.error.code == "server_stopped"
        last = cut[-1].sequence_number
        rest = await events_of(await sdk.responses.retrieve(ended.id, stream=True, starting_after=last))
        assert [event.sequence_number for event in rest] == list(range(last + 1, last + 1 + len(rest)))
        assert text_of([*cut, *rest]) == ended.output_text
        # A cursor past what a crash left of it: the end still comes, with a number that is new to this reader.
        (end,) = await events_of(await sdk.responses.retrieve(ended.id, stream=True, starting_after=900))
        assert (end.type, end.sequence_number) == ("response.failed", 901)
