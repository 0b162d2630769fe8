"""One line a request, with its route and no word of what was said; the same id on every line that it caused."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from gpt2svc.logs import JsonFormatter
from tests.api.conftest import new_conversation


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger("gpt2svc")
    root.addHandler(handler)
    level = root.level
    root.setLevel(logging.INFO)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


def _lines(log: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


async def test_a_request_and_its_reply_leave_one_line_each_with_one_id(
    client: httpx.AsyncClient, log: io.StringIO
) -> None:
    conversation = await new_conversation(client)
    log.truncate(0)
    log.seek(0)
    url = f"/api/conversations/{conversation}/messages"
    response = await client.post(url, json={"content": "A secret of mine"}, headers={"x-request-id": "abc-1"})
    reply = response.json()
    ended, request = _lines(log)
    assert (request["message"], request["logger"]) == ("request", "gpt2svc.api.middleware.request_id")
    assert request["method"] == "POST"
    assert request["route"] == "/api/conversations/{conversation_id}/messages"
    assert request["status"] == 201
    assert request["duration_ms"] > 0
    assert request["key_id"] == ""
    assert request["request_id"] == ended["request_id"] == "abc-1"
    assert ended["message"] == "generation"
    assert ended["generation_id"] == reply["generation_id"]
    assert (ended["status"], ended["finish_reason"]) == ("completed", "stop")
    assert ended["completion_tokens"] == reply["usage"]["completion_tokens"]
    assert ended["ttft_ms"] > 0
    text = log.getvalue()
    assert "secret" not in text
    assert reply["content"] not in text
    assert conversation not in text


async def test_odd_methods_and_paths_are_not_repeated(client: httpx.AsyncClient, log: io.StringIO) -> None:
    await client.request("BREW", "/pot/of/tea?password=x")
    await client.get("/livez")
    [line] = _lines(log)
    assert (line["method"], line["route"], line["status"]) == ("other", "unmatched", 404)
    assert "tea" not in log.getvalue()
    assert "password" not in log.getvalue()
