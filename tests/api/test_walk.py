"""Random requests to every route: each answer is one that the OpenAPI page announces, and none is a 500."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpt2svc.api.openapi import describe
from tests.api.conftest import client_of, new_conversation
from tests.fakes.sse import parse_sse

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=10), children, max_size=3),
    max_leaves=6,
)
SETTING_NAMES = st.sampled_from(["temperature", "top_k", "top_p", "seed", "stop", "logit_bias", "max_new_tokens", "x"])
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "content": st.text(max_size=30) | JSON_VALUES,
        "title": st.text(max_size=30) | JSON_VALUES,
        "model": st.sampled_from(["tiny", "starter", None]) | JSON_VALUES,
        "settings": st.dictionaries(SETTING_NAMES, JSON_VALUES, max_size=3) | JSON_VALUES,
        "parent_id": st.text(max_size=30) | JSON_VALUES,
        "stream": st.booleans() | JSON_VALUES,
        "messages": st.just([{"role": "user", "content": "Hi"}]) | JSON_VALUES,
        "prompt": st.text(max_size=30) | st.lists(st.integers(0, 300), max_size=5) | JSON_VALUES,
        "tokens": st.lists(st.integers(0, 300), max_size=5) | JSON_VALUES,
        "n": st.integers(1, 3) | JSON_VALUES,
        "input": st.text(max_size=30) | JSON_VALUES,
        "background": st.booleans(),
    },
)
QUERIES = st.dictionaries(
    st.sampled_from(["limit", "cursor", "search", "starting_after", "stream", "order"]),
    st.integers(-2, 200).map(str) | st.text(max_size=9),
)


class Walk:
    """A service with a conversation, and its document."""

    def __init__(self, app: FastAPI, runner: asyncio.Runner) -> None:
        self.document: dict[str, Any] = describe(app)
        self.client = client_of(app)
        self.runner = runner
        self.conversation = runner.run(new_conversation(self.client))
        reply = runner.run(self.client.post(f"/api/conversations/{self.conversation}/messages", json={"content": "Hi"}))
        response = runner.run(self.client.post("/v1/responses", json={"input": "Hi"}))
        self.response = response.json()["id"]
        self.generation = reply.json()["generation_id"]
        self.message = reply.json()["id"]

    @property
    def operations(self) -> list[tuple[str, str]]:
        return [(method, path) for path, item in self.document["paths"].items() for method in item]

    def request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        return self.runner.run(self.client.request(method, path, **arguments))


@pytest.fixture
def walk(make_app: Callable[..., FastAPI]) -> Iterator[Walk]:
    with asyncio.Runner() as runner:
        app = make_app()
        lifespan = app.router.lifespan_context(app)
        runner.run(lifespan.__aenter__())
        try:
            yield Walk(app, runner)
        finally:
            runner.run(lifespan.__aexit__(None, None, None))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(draw=st.data())
def test_any_request_gets_an_announced_answer(walk: Walk, draw: st.DataObject) -> None:
    method, path = draw.draw(st.sampled_from(walk.operations))
    is_known = draw.draw(st.booleans())
    concrete = path.format(
        conversation_id=walk.conversation if is_known and method != "delete" else "conv_" + "0" * 26,
        message_id=walk.message if is_known else "msg_" + "0" * 26,
        generation_id=walk.generation if is_known else "gen_" + "0" * 26,
        response_id=walk.response if is_known and method != "delete" else "resp_" + "0" * 26,
        model_id="tiny" if is_known else "other",
    )
    operation = walk.document["paths"][path][method]
    arguments: dict[str, Any] = {"params": draw.draw(QUERIES)}
    if "requestBody" in operation:
        arguments["content"] = draw.draw(BODIES.map(_as_json) | st.binary(max_size=30))
        arguments["headers"] = {"Content-Type": "application/json"}
    response = walk.request(method.upper(), concrete, **arguments)
    assert str(response.status_code) in operation["responses"], (method, path, response.text)
    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        assert response.json()["error"].keys() == {"message", "type", "param", "code"}
        response.json()["error"]["message"].encode()
    elif response.headers.get("content-type", "").startswith("text/event-stream") and path.startswith("/v1/"):
        assert response.text.endswith("data: [DONE]\n\n")
    elif response.headers.get("content-type", "").startswith("text/event-stream"):
        assert parse_sse(response.content)[-1].name in ("done", "error")


def _as_json(value: Any) -> bytes:

    return json.dumps(value).encode()  # with NaN and Infinity where the value has them, as careless clients send
