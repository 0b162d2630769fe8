"""Whatever comes in is refused by name and limit, or it is stored: nothing half-way, and never a 500."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.api.conftest import client_of, new_conversation
from tests.fakes.engine import ScriptedEngine

JSON = {"Content-Type": "application/json"}


async def post_raw(client: httpx.AsyncClient, conversation: str, body: bytes, **headers: str) -> httpx.Response:
    url = f"/api/conversations/{conversation}/messages"
    return await client.post(url, content=body, headers={**JSON, **headers})


async def assert_refused(
    client: httpx.AsyncClient, conversation: str, response: httpx.Response, status: int, param: str | None
) -> dict[str, Any]:
    error: dict[str, Any] = response.json()["error"]
    assert response.status_code == status, error
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["param"] == param, error
    assert len(response.content) < 1000
    messages = (await client.get(f"/api/conversations/{conversation}/messages")).json()["data"]
    assert messages == []
    return error


@pytest.mark.parametrize(
    ("body", "param", "limit"),
    [
        ("{}", "content", "required"),
        ('{"content": ""}', "content", "blank"),
        ('{"content": " \\n\\u00a0\\t"}', "content", "blank"),
        ('{"content": null}', "content", "string"),
        ('{"content": 3}', "content", "string"),
        ('{"content": ["a"]}', "content", "string"),
        ('{"content": {"a": 1}}', "content", "string"),
        ('{"content": "a\\u0000b"}', "content", "NUL"),
        ('{"content": "a\\ud800"}', "content", "surrogate"),
        ('{"content": "\\udc00\\ud800"}', "content", "surrogate"),
        ('{"content": "' + "a" * 100_001 + '"}', "content", "100000"),
        ('{"content": "a", "temprature": 1}', "temprature", "not a field"),
        ('{"content": "a", "stream": "yes"}', "stream", "true or false"),
        ('{"content": "a", "stream": 1}', "stream", "true or false"),
        ('{"content": "a", "parent_id": 7}', "parent_id", "string"),
        ('{"content": "a", "parent_id": "\\u0000"}', "parent_id", "NUL"),
        ('{"content": "a", "parent_id": "' + "m" * 65 + '"}', "parent_id", "64"),
        ('{"content": "a", "settings": []}', "settings", "object"),
        ('{"content": "a", "settings": "hot"}', "settings", "object"),
        ('{"content": "a", "content": "b"}', "content", "twice"),
        ("[]", None, "object"),
        ('"content"', None, "object"),
        ("null", None, "object"),
    ],
)
async def test_wrong_message_is_refused_by_name(
    client: httpx.AsyncClient, body: str, param: str | None, limit: str
) -> None:
    conversation = await new_conversation(client)
    response = await post_raw(client, conversation, body.encode())
    error = await assert_refused(client, conversation, response, 422, param)
    assert limit in error["message"]


@pytest.mark.parametrize(
    ("setting", "value", "limit"),
    [
        ("temperature", "NaN", "finite"),
        ("temperature", "Infinity", "finite"),
        ("temperature", "-Infinity", "finite"),
        ("temperature", "1e999", "finite"),
        ("temperature", "-0.1", "at least 0"),
        ("temperature", "5.01", "at most 5"),
        ("temperature", "1" * 200, "at most 5"),
        ("temperature", "1" * 5000, "300 digits"),
        ("temperature", '"0.7"', "number"),
        ("temperature", "true", "number"),
        ("temperature", "[1]", "number"),
        ("top_k", "1.5", "whole number"),
        ("top_k", "NaN", "whole number"),
        ("top_k", "1e999", "whole number"),
        ("top_k", "-1", "at least 0"),
        ("top_k", "1001", "at most 1000"),
        ("top_k", "2147483648", "at most 1000"),
        ("top_k", "9223372036854775808", "at most 1000"),
        ("top_k", "1e30", "at most 1000"),
        ("top_k", "-" + "9" * 4400, "300 digits"),
        ("top_k", "false", "whole number"),
        ("top_p", "1.0001", "at most 1"),
        ("min_p", "-1e-9", "at least 0"),
        ("typical_p", "0", "at least 0.001"),
        ("repetition_penalty", "0", "at least 0.1"),
        ("repetition_penalty", "1e308", "at most 10"),
        ("presence_penalty", "-2.1", "at least -2"),
        ("frequency_penalty", "2.1", "at most 2"),
        ("no_repeat_ngram_size", "65", "at most 64"),
        ("max_new_tokens", "0", "at least 1"),
        ("max_new_tokens", "1024", "at most 1023"),
        ("max_length", "0", "at least 1"),
        ("min_new_tokens", "-1", "at least 0"),
        ("seed", "-1", "at least 0"),
        ("seed", "9223372036854775808", "at most 9223372036854775807"),
        ("logprobs", "21", "at most 20"),
        ("stop", '["a","b","c","d","e","f","g","h","i"]', "at most 8"),
        ("stop", '"' + "x" * 65 + '"', "at most 64"),
        ("stop", '[""]', "not be empty"),
        ("stop", "[3]", "string"),
        ("stop", '["\\u0000"]', "NUL"),
        ("stop", '["\\ud83d"]', "surrogate"),
        ("logit_bias", '{"x": 1}', "token id"),
        ("logit_bias", '{"-1": 1}', "token id"),
        ("logit_bias", '{"1": 101}', "100"),
        ("logit_bias", '{"1": NaN}', "finite"),
        ("logit_bias", "[1]", "object"),
        ("logit_bias", json.dumps({str(i): 0 for i in range(301)}), "300"),
        ("heat", "1", "not a field"),
    ],
)
async def test_wrong_setting_is_refused_by_name_wherever_it_stands(
    client: httpx.AsyncClient, setting: str, value: str, limit: str
) -> None:
    conversation = await new_conversation(client)
    settings = f'"settings": {{"{setting}": {value}}}'
    response = await post_raw(client, conversation, f'{{"content": "a", {settings}}}'.encode())
    error = response.json()["error"]
    await assert_refused(client, conversation, response, 422, error["param"])
    assert setting in error["param"]
    assert limit in error["message"]
    for method, path in (("POST", "/api/conversations"), ("PATCH", f"/api/conversations/{conversation}")):
        other = await client.request(method, path, content=f"{{{settings}}}".encode(), headers=JSON)
        assert (other.status_code, other.json()["error"]["param"]) == (422, error["param"])
    assert len((await client.get("/api/conversations")).json()["data"]) == 1


async def test_settings_that_contradict_each_other_are_refused(client: httpx.AsyncClient) -> None:
    conversation = await new_conversation(client)
    for settings, param in (
        ({"min_new_tokens": 20, "max_new_tokens": 10}, "settings.min_new_tokens"),
        ({"max_length": 10, "max_new_tokens": 10}, "settings.max_length"),
    ):
        body = json.dumps({"content": "a", "settings": settings}).encode()
        await assert_refused(client, conversation, await post_raw(client, conversation, body), 422, param)


async def test_whole_number_written_with_a_point_is_one(client: httpx.AsyncClient) -> None:
    conversation = await new_conversation(client)
    response = await post_raw(client, conversation, b'{"content": "a", "settings": {"top_k": 5.0, "max_length": 9e0}}')
    assert response.status_code == 201
    settings = response.json()["settings"]
    assert (settings["top_k"], settings["max_new_tokens"]) == (5, 9)


async def test_prompt_that_can_not_fit_says_both_numbers(client: httpx.AsyncClient, engine: ScriptedEngine) -> None:
    conversation = await new_conversation(client)
    response = await post_raw(client, conversation, json.dumps({"content": "z" * 600}).encode())
    error = await assert_refused(client, conversation, response, 422, "content")
    assert error["code"] == "context_length_exceeded"
    numbers = [int(word.strip(".,:;()")) for word in error["message"].split() if word.strip(".,:;()").isdigit()]
    assert any(n >= 600 for n in numbers)
    assert any(n <= engine.n_positions for n in numbers)


async def test_unknown_parent_is_404_and_stores_nothing(client: httpx.AsyncClient) -> None:
    conversation = await new_conversation(client)
    body = json.dumps({"content": "a", "parent_id": "msg_" + "0" * 26}).encode()
    await assert_refused(client, conversation, await post_raw(client, conversation, body), 404, "parent_id")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "line 1"),
        (b"", "required"),
        (b"content=a", "not valid JSON"),
        (b'{"content": "a"', "not valid JSON"),
        (b'{"content": "\xff"}', "UTF-8"),
        (b'{"content": "\xed\xa0\x80"}', "UTF-8"),
        (b'\xef\xbb\xbf{"content": "a"}', "not valid JSON"),
        (b'{"content": "a\nb"}', "not valid JSON"),
        (b'{"content": ' + b"[" * 100 + b"]" * 100 + b"}", "32 levels"),
        (b"[" * 1_000_000, "32 levels"),
        (b'{"a":' * 200_000, "32 levels"),
    ],
)
async def test_body_that_is_not_sound_json_is_refused(client: httpx.AsyncClient, body: bytes, words: str) -> None:
    conversation = await new_conversation(client)
    response = await post_raw(client, conversation, body)
    error = await assert_refused(client, conversation, response, 422 if not body else 400, None)
    assert words in error["message"]


async def test_brackets_inside_strings_are_no_nesting(client: httpx.AsyncClient) -> None:
    conversation = await new_conversation(client)
    body = json.dumps({"content": '[[{"\\' * 20}).encode()
    assert (await post_raw(client, conversation, body)).status_code == 201


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
        "application/jsonp",
        "",
    ],
)
async def test_another_content_type_is_415(client: httpx.AsyncClient, content_type: str) -> None:
    conversation = await new_conversation(client)
    headers = {"Content-Type": content_type}
    response = await post_raw(client, conversation, b'{"content": "a"}', **headers)
    await assert_refused(client, conversation, response, 415, "Content-Type")


async def test_10_mb_body_is_413_declared_or_chunked(live: httpx.AsyncClient) -> None:
    conversation = await new_conversation(live)
    body = b'{"content": "' + b"a" * 10_000_000 + b'"}'

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536]

    url = f"/api/conversations/{conversation}/messages"
    for content in (body, chunks()):
        response = await live.post(url, content=content, headers=JSON)
        error = await assert_refused(live, conversation, response, 413, None)
        assert "1048576" in error["message"]


async def test_largest_body_allowed_is_read(make_app: Callable[..., FastAPI]) -> None:
    app = make_app(max_body_bytes=1024)
    async with app.router.lifespan_context(app), client_of(app) as client:
        fits = b'{"title": "a"' + b" " * (1024 - 14) + b"}"
        for body, status in ((fits, 201), (fits + b" ", 413)):
            response = await client.post("/api/conversations", content=body, headers=JSON)
            assert response.status_code == status


@pytest.mark.parametrize(
    ("title", "status"), [("x" * 200, 201), ("x" * 201, 422), (" ", 422), ("a\x00", 422), (5, 422)]
)
async def test_title_is_bounded(client: httpx.AsyncClient, title: object, status: int) -> None:
    response = await client.post("/api/conversations", json={"title": title})
    assert response.status_code == status
    if status == 422:
        assert response.json()["error"]["param"] == "title"


@pytest.mark.parametrize("model", ["../../etc", "a/b/c", "/root", "x" * 300, "", "a\x00b", "tiny\u202e", 7])
async def test_odd_model_names_are_refused(client: httpx.AsyncClient, model: object) -> None:
    response = await client.post("/api/conversations", json={"model": model})
    assert response.status_code in (404, 422)
    assert response.json()["error"]["param"] in ("model", "model_id")
