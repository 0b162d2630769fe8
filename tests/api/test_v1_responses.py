"""/v1/responses by OpenAI's own client: whole and streamed, in chains, kept and not kept, and refused."""

from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest
from fastapi import FastAPI

from tests.api.conftest import sdk_of
from tests.api.v1_responses import DELTA, events_of, row_counts, text_of, types_of
from tests.fakes.engine import ScriptedEngine
from tests.fakes.running_app import running

OPENING = ["response.created", "response.in_progress", "response.output_item.added", "response.content_part.added"]
CLOSING = ["response.output_text.done", "response.content_part.done", "response.output_item.done"]


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


async def test_each_token_is_found_among_the_likeliest_also_the_one_that_lost_its_space(
    sdk: Any, engine: ScriptedEngine
) -> None:
    engine.say(" Hello there")
    include = ["message.output_text.logprobs"]
    created = await sdk.responses.create(model="tiny", input="Hi", include=include, top_logprobs=2)
    assert created.output_text == "Hello there"
    entries = created.output[0].content[0].logprobs
    assert all(entry.token == entry.top_logprobs[0].token for entry in entries)
    assert b"".join(bytes(entry.bytes) for entry in entries) == b" Hello there"


@pytest.mark.parametrize("is_stream", [True, False])
async def test_what_is_not_stored_leaves_nothing_behind(sdk: Any, services: Any, is_stream: bool) -> None:
    async with services.database.read() as uow:
        before = await row_counts(uow)
    created: Any = await sdk.responses.create(model="tiny", input="Hi", store=False, stream=is_stream)
    if is_stream:
        events = await events_of(created)
        assert types_of(events)[:4] == OPENING
        created = events[-1].response
    assert (created.status, created.output_text, created.store) == ("completed", "Hello there", False)
    with pytest.raises(openai.NotFoundError):
        await sdk.responses.retrieve(created.id)
    async with services.database.read() as uow:
        assert await row_counts(uow) == before


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


async def test_a_key_for_what_is_not_stored_is_refused(client: httpx.AsyncClient) -> None:
    body = {"input": "Hi", "store": False}
    response = await client.post("/v1/responses", json=body, headers={"Idempotency-Key": "k"})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "Idempotency-Key")


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
