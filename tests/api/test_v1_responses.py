"""/v1/responses by OpenAI's own client: created, streamed, cut and taken up again, chained, cancelled, deleted."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest
from fastapi import FastAPI
from sqlalchemy import func, select

from gpt2svc.app import create_app, services_of_app
from gpt2svc.config import Settings
from gpt2svc.persistence.tables import Base
from tests.api.conftest import sdk_of
from tests.fakes.chat_stack import until
from tests.fakes.engine import ScriptedEngine, ScriptedPool
from tests.fakes.running_app import running

OPENING = ["response.created", "response.in_progress", "response.output_item.added", "response.content_part.added"]
CLOSING = ["response.output_text.done", "response.content_part.done", "response.output_item.done"]
DELTA = "response.output_text.delta"


async def events_of(stream: Any) -> list[Any]:
    return [event async for event in stream]


def types_of(events: list[Any]) -> list[str]:
    return [event.type for event in events]


def text_of(events: list[Any]) -> str:
    return "".join(event.delta for event in events if event.type == DELTA)


async def _read(asking: Any) -> list[Any]:
    return await events_of(await asking)


async def read_deltas(stream: Any, count: int) -> list[Any]:
    """Up to so many of them."""
    events: list[Any] = []
    async for event in stream:
        events.append(event)
        if types_of(events).count(DELTA) == count:
            break
    return events


async def test_a_whole_response_is_what_the_client_expects(sdk: Any, engine: ScriptedEngine) -> None:
    created = await sdk.responses.create(
        model="tiny", input="Hi", instructions="Be kind.", metadata={"a": "b"}, temperature=0.5, max_output_tokens=40
    )
    assert created.id.startswith("resp_")
    assert (created.status, created.output_text, created.error) == ("completed", "Hello there", None)
    assert (created.instructions, created.metadata, created.temperature) == ("Be kind.", {"a": "b"}, 0.5)
    assert (created.max_output_tokens, created.background, created.previous_response_id) == (40, False, None)
    prompt = engine.decode(engine.requests[0].prompt_token_ids)
    assert prompt == "Be kind.\nUser: Hi\nAssistant:"
    assert created.usage is not None
    assert created.usage.input_tokens == len(engine.requests[0].prompt_token_ids)
    assert created.usage.total_tokens == created.usage.input_tokens + created.usage.output_tokens
    assert created.usage.input_tokens_details.cached_tokens == 0
    assert created.usage.output_tokens_details.reasoning_tokens == 0
    (item,) = created.output
    assert (item.type, item.status) == ("message", "completed")
    assert await sdk.responses.retrieve(created.id) == created


async def test_a_stream_has_openais_order_and_numbers_without_gaps(sdk: Any) -> None:
    events = await events_of(await sdk.responses.create(model="tiny", input="Hi", stream=True))
    deltas = types_of(events).count(DELTA)
    assert types_of(events) == [*OPENING, *[DELTA] * deltas, *CLOSING, "response.completed"]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert text_of(events) == "Hello there"
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response == await sdk.responses.retrieve(last.response.id)
    replayed = await events_of(await sdk.responses.retrieve(last.response.id, stream=True))
    assert replayed == events


async def test_the_clients_own_accumulator_takes_a_stream(sdk: Any) -> None:
    async with sdk.responses.stream(model="tiny", input="Hi") as stream:
        final = await stream.get_final_response()
    assert final.output_text == "Hello there"
    async with sdk.responses.stream(response_id=final.id, starting_after=4) as again:
        events = [event async for event in again]
    assert events[0].sequence_number == 5
    assert (await again.get_final_response()).output_text == "Hello there"


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
        leaving = asyncio.ensure_future(_read(asking))
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


async def test_what_is_too_long_is_incomplete(sdk: Any, engine: ScriptedEngine) -> None:
    engine.say("one two three four five")
    created = await sdk.responses.create(model="tiny", input="Hi", max_output_tokens=2)
    assert created.status == "incomplete"
    assert created.incomplete_details is not None
    assert created.incomplete_details.reason == "max_output_tokens"
    assert created.usage is not None
    assert created.usage.output_tokens == 2


async def test_a_chain_is_read_from_its_beginning_without_earlier_instructions(
    sdk: Any, engine: ScriptedEngine
) -> None:
    first = await sdk.responses.create(
        model="tiny",
        instructions="Be kind.",
        input=[{"role": "developer", "content": "Rules."}, {"role": "user", "content": "Hi"}],
    )
    second = await sdk.responses.create(model="tiny", input="And you?", previous_response_id=first.id)
    assert second.previous_response_id == first.id
    fork = await sdk.responses.create(
        model="tiny", input="Or not?", previous_response_id=first.id, store=False, instructions="Be quick."
    )
    assert fork.previous_response_id == first.id
    start = "User: Hi\nAssistant: Hello there\nUser: "
    prompts = [engine.decode(request.prompt_token_ids) for request in engine.requests]
    assert prompts == [
        "Be kind.\nRules.\nUser: Hi\nAssistant:",
        f"Rules.\n{start}And you?\nAssistant:",
        f"Be quick.\nRules.\n{start}Or not?\nAssistant:",
    ]
    items = await sdk.responses.input_items.list(first.id, order="asc", limit=1)
    page = [item async for item in items]  # over its pages
    assert [(item.role, item.content[0].text) for item in page] == [("developer", "Rules."), ("user", "Hi")]
    await sdk.responses.delete(first.id)
    for identifier in (first.id, second.id):
        with pytest.raises(openai.NotFoundError) as missing:
            await sdk.responses.create(model="tiny", input="Still there?", previous_response_id=identifier)
        assert missing.value.code == "previous_response_not_found"
    assert (await sdk.responses.retrieve(second.id)).output_text == "Hello there"


async def test_an_output_goes_back_in_as_input(sdk: Any, engine: ScriptedEngine) -> None:
    first = await sdk.responses.create(
        model="tiny", input="Hi", include=["message.output_text.logprobs"], top_logprobs=2
    )
    again: Any = [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}]
    again += [item.model_dump() for item in first.output]
    await sdk.responses.create(model="tiny", input=[*again, {"role": "user", "content": "More"}])
    prompt = engine.decode(engine.requests[1].prompt_token_ids)
    assert prompt == "User: Hi\nAssistant: Hello there\nUser: More\nAssistant:"


async def test_a_response_cannot_follow_one_that_is_being_written(sdk: Any, engine: ScriptedEngine) -> None:
    engine.hold_at(1)
    first = await sdk.responses.create(model="tiny", input="Hi", background=True)
    with pytest.raises(openai.BadRequestError) as refused:
        await sdk.responses.create(model="tiny", input="More", previous_response_id=first.id)
    assert refused.value.param == "previous_response_id"


async def test_log_probabilities_come_where_they_are_asked_for(sdk: Any) -> None:
    stream = await sdk.responses.create(
        model="tiny", input="Hi", stream=True, include=["message.output_text.logprobs"], top_logprobs=2
    )
    events: list[Any] = await events_of(stream)
    streamed = [entry for event in events if event.type == DELTA for entry in event.logprobs]
    assert all(len(entry.top_logprobs) == 2 for entry in streamed)
    assert "".join(entry.token for entry in streamed) == "Hello there"
    (part,) = events[-1].response.output[0].content
    assert [entry.logprob for entry in part.logprobs] == [entry.logprob for entry in streamed]
    with pytest.raises(openai.BadRequestError) as refused:
        await sdk.responses.create(model="tiny", input="Hi", top_logprobs=2)
    assert refused.value.param == "top_logprobs"


@pytest.mark.parametrize("is_stream", [True, False])
async def test_what_is_not_stored_leaves_nothing_behind(sdk: Any, services: Any, is_stream: bool) -> None:
    async with services.database.read() as uow:
        before = await _counts(uow)
    created: Any = await sdk.responses.create(model="tiny", input="Hi", store=False, stream=is_stream)
    if is_stream:
        events = await events_of(created)
        assert types_of(events)[:4] == OPENING
        created = events[-1].response
    assert (created.status, created.output_text, created.store) == ("completed", "Hello there", False)
    with pytest.raises(openai.NotFoundError):
        await sdk.responses.retrieve(created.id)
    async with services.database.read() as uow:
        assert await _counts(uow) == before


async def _counts(uow: Any) -> list[int]:
    connection = uow.responses._connection
    tables = Base.metadata.sorted_tables
    return [(await connection.execute(select(func.count()).select_from(table))).scalar_one() for table in tables]


async def test_responses_are_no_conversations(sdk: Any, live_url: str, services: Any) -> None:
    created = await sdk.responses.create(model="tiny", input="Hi")
    async with httpx.AsyncClient(base_url=live_url) as client:
        assert (await client.get("/api/conversations")).json()["data"] == []
        async with services.database.read() as uow:
            unseen = (await uow.responses.get(created.id, "")).conversation_id
        for path in (f"/api/conversations/{unseen}", f"/api/conversations/{unseen}/messages"):
            assert (await client.get(path)).status_code == 404
        assert (await client.delete(f"/api/conversations/{unseen}")).status_code == 404


@pytest.fixture
def live_url(sdk: Any) -> str:
    return str(sdk.base_url).removesuffix("/v1/")


async def test_delete_takes_a_response_in_progress_with_it(sdk: Any, services: Any, engine: ScriptedEngine) -> None:
    engine.hold_at(1)
    async with services.database.read() as uow:
        before = await _counts(uow)
    created = await sdk.responses.create(model="tiny", input="Hi", background=True)
    await sdk.responses.delete(created.id)
    await engine.wait_until_idle()
    for call in (sdk.responses.retrieve, sdk.responses.cancel, sdk.responses.delete, sdk.responses.input_items.list):
        with pytest.raises(openai.NotFoundError):
            await call(created.id)
    async with services.database.read() as uow:
        assert await _counts(uow) == before


UNSUPPORTED: list[dict[str, Any]] = [
    {"tools": [{"type": "web_search"}]},
    {"text": {"format": {"type": "json_schema", "name": "x", "schema": {}}}},
    {"reasoning": {"effort": "low"}},
    {"conversation": "conv_1"},
    {"prompt": {"id": "pmpt_1"}},
    {"include": ["reasoning.encrypted_content"]},
    {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
    {"input": [{"type": "function_call_output", "call_id": "a", "output": "b"}]},
    {"background": True, "store": False},
    {"temperature": 9},
    {"input": " "},
    {"max_tool_calls": 1},
    {"nonsense": 1},
]


@pytest.mark.parametrize("fields", UNSUPPORTED, ids=lambda fields: next(iter(fields)))
async def test_what_is_not_supported_is_refused_by_name(sdk: Any, fields: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await sdk.responses.create(model="tiny", input="Hi", extra_body=fields)
    name = next(iter(fields))
    assert (refused.value.param or "").split(".")[0] == name
    assert name in refused.value.message


async def test_errors_are_the_clients_exceptions(sdk: Any, engine: ScriptedEngine) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        await sdk.responses.create(model="gpt-9", input="Hi")
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as long:
        await sdk.responses.create(model="tiny", input="Hi " * 3000)
    assert (long.value.code, long.value.param) == ("context_length_exceeded", "input")
    fitting = await sdk.responses.create(
        model="tiny", truncation="auto", input=[{"role": "user", "content": f"Hi {n}"} for n in range(50)]
    )
    assert (fitting.model_extra or {})["dropped_messages"] > 0
    engine.fail("out of memory")
    with pytest.raises(openai.InternalServerError):
        await sdk.responses.create(model="tiny", input="Hi")


async def test_overload_is_a_rate_limit_error(make_app: Callable[..., FastAPI], engine: ScriptedEngine) -> None:
    engine.hold_at(1)
    async with running(make_app(max_num_seqs=1, max_queued_requests=0)) as url, sdk_of(url) as sdk:
        running_one = await sdk.responses.create(model="tiny", input="Hi", background=True)
        with pytest.raises(openai.RateLimitError):
            await sdk.responses.create(model="tiny", input="Hi")
        await sdk.responses.cancel(running_one.id)


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


async def test_comments_every_10_ms_do_not_break_the_client(
    make_app: Callable[..., FastAPI], engine: ScriptedEngine
) -> None:
    engine.pace_s = 0.03
    async with running(make_app(sse_ping_s=0.01)) as url, sdk_of(url) as sdk:
        events = await events_of(await sdk.responses.create(model="tiny", input="Hi", stream=True))
        assert text_of(events) == "Hello there"
        async with httpx.AsyncClient(base_url=url) as client:
            response = await client.post("/v1/responses", json={"input": "Hi", "stream": True})
    assert ": ping\n" in response.text
    assert ": ping\n\n" not in response.text
    assert "\nid:" not in response.text
    assert response.headers["cache-control"] == "no-cache, no-transform"
    assert response.headers["x-accel-buffering"] == "no"


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
