"""What goes wrong at /v1 arrives as the exception classes of OpenAI's client, with codes and names."""

from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest
from fastapi import FastAPI

from gpt2svc.api.schemas.openai_parameters import UNSUPPORTED
from tests.api.conftest import sdk_of
from tests.fakes.engine import ScriptedEngine, ScriptedPool
from tests.fakes.running_app import running

HI: Any = [{"role": "user", "content": "Hi"}]


async def refused(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> tuple[int, str | None, str]:
    """Status, param and code."""
    response = await client.post(path, json=body)
    error = response.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["param"] is None or error["param"].rsplit(".", 1)[-1] in error["message"]
    assert "settings." not in error["message"]
    return response.status_code, error["param"], error["code"]


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"tools": [{"type": "function"}]}, "tools", "unsupported_value"),
        ({"tool_choice": "required"}, "tool_choice", "unsupported_value"),
        ({"functions": [{"name": "f"}]}, "functions", "unsupported_value"),
        ({"response_format": {"type": "json_object"}}, "response_format", "unsupported_value"),
        ({"modalities": ["text", "audio"]}, "modalities", "unsupported_value"),
        ({"modalities": ["audio"]}, "modalities", "unsupported_value"),
        ({"store": True}, "store", "unsupported_value"),
        ({"service_tier": "flex"}, "service_tier", "unsupported_value"),
        *[({name: "x"}, name, "unsupported_parameter") for name in sorted(UNSUPPORTED)],
        ({"temprature": 1}, "temprature", "unknown_parameter"),
        ({"best_of": 2}, "best_of", "unknown_parameter"),
        ({"temperature": 5.5}, "temperature", "invalid_input"),
        ({"n": 0}, "n", "invalid_input"),
        ({"n": 129}, "n", "invalid_input"),
        ({"max_tokens": 0}, "max_tokens", "invalid_input"),
        ({"max_tokens": 5, "max_completion_tokens": 5}, "max_tokens", "invalid_input"),
        ({"max_tokens": 5, "min_new_tokens": 6}, "min_new_tokens", "invalid_input"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "invalid_input"),
        ({"top_logprobs": 3}, "top_logprobs", "invalid_input"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "invalid_input"),
        ({"logprobs": 3}, "logprobs", "invalid_input"),
        ({"logit_bias": {"999": 1}}, "logit_bias", "invalid_input"),
        ({"messages": []}, "messages", "invalid_input"),
        ({"messages": [{"role": "user", "content": " "}]}, "messages", "invalid_input"),
        ({"messages": [{"role": "system", "content": "Hi"}]}, "messages", "invalid_input"),
        ({"messages": [{"role": "tool", "content": "Hi"}]}, "messages.0.role", "invalid_input"),
        ({"messages": [{"role": "user", "content": None}]}, "messages.0.content", "invalid_input"),
        ({"messages": [{"role": "user", "content": "a\x00"}]}, "messages.0.content", "invalid_input"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "messages.0.content.0.type",
            "invalid_input",
        ),
        ({"messages": [{"role": "user", "content": "a", "name": "Ann"}]}, "messages.0.name", "unsupported_value"),
        ({"max_tokens": 256}, "max_tokens", "context_length_exceeded"),
    ],
)
async def test_wrong_chat_is_a_400_that_names_the_parameter(
    client: httpx.AsyncClient, engine: ScriptedEngine, fields: dict[str, Any], param: str, code: str
) -> None:
    assert await refused(client, "/v1/chat/completions", {"messages": HI, **fields}) == (400, param, code)
    assert engine.requests == []


async def test_parameters_that_ask_for_nothing_pass(client: httpx.AsyncClient, engine: ScriptedEngine) -> None:
    neutral = {
        "n": 1,
        "tools": [],
        "tool_choice": "auto",
        "functions": [],
        "parallel_tool_calls": True,
        "response_format": {"type": "text"},
        "modalities": ["text"],
        "store": False,
        "service_tier": "auto",
        "user": "u-1",
        "metadata": {"a": "b"},
        "safety_identifier": "s",
        "prompt_cache_key": "k",
        "stop": None,
        "seed": None,
        "temperature": None,
        "logit_bias": {},
        **dict.fromkeys(UNSUPPORTED),
    }
    bare = await client.post("/v1/chat/completions", json={"messages": HI, "seed": 1})
    assert (await client.post("/v1/chat/completions", json={"messages": HI, **neutral})).status_code == 200
    assert bare.status_code == 200
    first, second = (request.params for request in engine.requests)
    assert first.temperature == second.temperature
    assert (first.top_k, first.top_p, first.logit_bias) == (second.top_k, second.top_p, second.logit_bias)


async def test_client_raises_its_own_classes(sdk: openai.AsyncOpenAI, engine: ScriptedEngine) -> None:
    with pytest.raises(openai.BadRequestError) as bad:
        await sdk.chat.completions.create(model="tiny", messages=HI, temperature=9)
    assert (bad.value.param, bad.value.code, bad.value.type) == (
        "temperature",
        "invalid_input",
        "invalid_request_error",
    )
    assert bad.value.request_id
    with pytest.raises(openai.NotFoundError) as unknown:
        await sdk.chat.completions.create(model="other", messages=HI)
    assert (unknown.value.param, unknown.value.code) == ("model", "model_not_found")
    engine.fail("The weights are broken.")
    with pytest.raises(openai.InternalServerError) as failed:
        await sdk.chat.completions.create(model="tiny", messages=HI)
    assert (failed.value.status_code, failed.value.code) == (503, "model_unavailable")


async def test_key_is_taken_as_the_client_sends_it(make_app: Callable[..., FastAPI]) -> None:
    key = "a-key-of-sixteen-characters"
    async with running(make_app(api_key=key)) as url, sdk_of(url, api_key=key) as good, sdk_of(url) as bad:
        assert (await good.models.list()).data
        with pytest.raises(openai.AuthenticationError):
            await bad.chat.completions.create(model="tiny", messages=HI)


async def test_full_service_is_a_rate_limit_error_that_says_when_to_come_back(
    make_app: Callable[..., FastAPI], engine: ScriptedEngine
) -> None:
    engine.hold_at(0)
    async with running(make_app(max_num_seqs=1, max_queued_requests=1)) as url, sdk_of(url) as sdk:
        with pytest.raises(openai.BadRequestError) as never:
            await sdk.chat.completions.create(model="tiny", messages=HI, n=3)
        assert never.value.param == "n"
        stream = await sdk.chat.completions.create(model="tiny", messages=HI, n=2, stream=True)
        with pytest.raises(openai.RateLimitError) as full:
            await sdk.chat.completions.create(model="tiny", messages=HI)
        assert full.value.code == "overloaded"
        assert int(full.value.response.headers["retry-after"]) >= 1
        engine.release()
        assert [chunk async for chunk in stream]
        assert (await sdk.chat.completions.create(model="tiny", messages=HI)).choices


async def test_failure_within_a_stream_is_an_api_error_and_never_done(app: FastAPI, engine: ScriptedEngine) -> None:
    engine.hold_at(2)
    async with running(app) as url, sdk_of(url) as sdk, httpx.AsyncClient(base_url=url) as raw:
        stream = await sdk.chat.completions.create(model="tiny", messages=HI, stream=True)
        seen = [await anext(stream)]
        engine.crash()
        with pytest.raises(openai.APIError) as error:
            seen += [chunk async for chunk in stream]
        assert error.value.code == "worker_crashed"
        assert all(chunk.choices[0].finish_reason is None for chunk in seen)
        engine.recover()
        async with raw.stream("POST", "/v1/chat/completions", json={"messages": HI, "stream": True}) as response:
            await engine.wait_for_requests(2)
            engine.crash()
            text = (await response.aread()).decode()
        assert "worker_crashed" in text
        assert "[DONE]" not in text


async def test_crash_under_a_whole_reply_is_a_500(sdk: openai.AsyncOpenAI, engine: ScriptedEngine) -> None:
    engine.hold_at(1)
    import asyncio

    asking = asyncio.ensure_future(sdk.chat.completions.create(model="tiny", messages=HI, n=2))
    await engine.wait_for_requests(2)
    engine.crash()
    with pytest.raises(openai.InternalServerError) as error:
        await asking
    assert (error.value.status_code, error.value.code) == (500, "worker_crashed")
    await engine.wait_until_idle()


async def test_no_place_for_another_model_is_a_503(
    make_app: Callable[..., FastAPI], pool: ScriptedPool, engine: ScriptedEngine
) -> None:
    pool.refuse("tiny")
    async with running(make_app()) as url, sdk_of(url) as sdk:
        with pytest.raises(openai.InternalServerError) as busy:
            await sdk.completions.create(model="tiny", prompt="Hi")
        assert busy.value.status_code == 503
        assert int(busy.value.response.headers["retry-after"]) >= 5


async def test_truth_table_names_every_parameter(sdk: openai.AsyncOpenAI) -> None:
    [model] = [model for model in (await sdk.models.list()).data if model.id == "tiny"]
    assert (model.object, model.owned_by) == ("model", "gpt2svc")
    details = await sdk.models.retrieve("tiny")
    tables: dict[str, Any] = (details.model_extra or {})["parameters"]
    chat, text = tables["chat.completions"], tables["completions"]
    assert chat["temperature"] == {
        "support": "honoured",
        "minimum": 0.0,
        "maximum": 5.0,
        "default": 0.7,
        "note": chat["temperature"]["note"],
    }
    assert (text["temperature"]["default"], text["top_k"]["default"]) == (1.0, 0)
    assert (text["best_of"]["maximum"], text["logprobs"]["maximum"]) == (20, 5)
    assert chat["tools"]["support"] == chat["user"]["support"] == "accepted"
    assert {name for name, row in chat.items() if row["support"] == "unsupported"} == UNSUPPORTED
    with pytest.raises(openai.NotFoundError) as unknown:
        await sdk.models.retrieve("no/such-model")
    assert unknown.value.code == "model_not_found"
