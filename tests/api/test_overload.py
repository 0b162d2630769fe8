"""A full service refuses at the door: the same answer as further in, without reading or looking up anything."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import Message, Scope

from gpt2svc.api.openapi import describe
from gpt2svc.api.routes.transfer import IMPORT_PATH
from gpt2svc.app import create_app, services_of_app
from gpt2svc.config import Settings
from tests.api.conftest import client_of, new_conversation
from tests.api.test_keys import new_key, settled
from tests.api.test_middleware import KEY
from tests.fakes.chat_stack import until
from tests.fakes.engine import ScriptedEngine, ScriptedPool

MakeApp = Callable[..., FastAPI]


def limited_paths(app: FastAPI) -> list[str]:
    return [
        path
        for path, item in describe(app)["paths"].items()
        if "429" in item.get("post", {"responses": {}})["responses"] and path != IMPORT_PATH
    ]


async def test_every_route_that_can_be_refused_for_load_is_refused_at_the_door_with_one_answer(
    make_app: MakeApp,
) -> None:
    app = make_app(max_num_seqs=1, max_queued_requests=0)
    services = services_of_app(app)
    async with app.router.lifespan_context(app), client_of(app) as client:
        permit = services.admission.reserve(10)
        paths = limited_paths(app)
        assert len(paths) > 6
        answers = []
        for path in paths:
            # Not even JSON: nobody reads it.
            response = await client.post(path.replace("{", "").replace("}", ""), content=b"{")
            answers.append(response)
            assert response.status_code == 429, path
            assert response.headers["content-type"] == "application/json"
            assert response.headers["x-ratelimit-remaining-requests"] == "0"
            assert response.headers["x-content-type-options"] == "nosniff"
            assert int(response.headers["retry-after"]) >= 1
            route = services.metrics.registry.get_sample_value(
                "gpt2svc_http_requests_total", {"route": path, "status": "4xx"}
            )
            assert route == 1, path
        assert len({response.text for response in answers}) == 1
        assert len({response.headers["x-request-id"] for response in answers}) == len(paths)
        # The answer of the routes themselves, which a request with a key for replays gets to:
        conversation = (await client.post("/api/conversations", json={})).json()["id"]
        url, headers = f"/api/conversations/{conversation}/messages", {"Idempotency-Key": "one"}
        inner = await client.post(url, json={"content": "Hi"}, headers=headers)
        assert (inner.status_code, inner.text) == (429, answers[0].text)
        assert inner.headers.keys() == answers[0].headers.keys()
        permit.release()
        assert (await client.post(url, json={"content": "Hi"}, headers=headers)).status_code == 201


async def test_a_reply_that_was_accepted_before_is_found_however_full_it_is(make_app: MakeApp) -> None:
    app = make_app(max_num_seqs=1, max_queued_requests=0)
    async with app.router.lifespan_context(app), client_of(app) as client:
        url = f"/api/conversations/{await new_conversation(client)}/messages"
        headers = {"Idempotency-Key": "one"}
        first = await client.post(url, json={"content": "Hi"}, headers=headers)
        services_of_app(app).admission.reserve(10)
        again = await client.post(url, json={"content": "Hi"}, headers=headers)
        assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
        assert again.headers["idempotent-replayed"] == "true"


async def test_other_routes_go_on_and_an_ending_service_says_so(make_app: MakeApp, engine: ScriptedEngine) -> None:
    app = make_app(max_num_seqs=1, max_queued_requests=0)
    services = services_of_app(app)
    async with app.router.lifespan_context(app), client_of(app) as client:
        engine.hold_at(1)
        conversation = await new_conversation(client)
        turn = await services.turns.post(conversation, "", "Hi")
        assert (await client.post("/v1/completions", json={"prompt": "Hi"})).status_code == 429
        assert (await client.get("/api/conversations")).status_code == 200
        assert (await client.post("/api/conversations", json={})).status_code == 201
        exported = (await client.get(f"/api/export?conversation_id={conversation}")).content
        assert (await client.post(IMPORT_PATH, content=exported)).status_code == 200
        assert (await client.post(f"/api/generations/{turn.generation_id}/cancel")).status_code == 200
        engine.release()
        await services.generations.stop(0)
        services.admission.reserve(10)
        late = await client.post(f"/api/conversations/{conversation}/messages", json={"content": "Hi"})
        assert late.status_code == 503


async def test_who_has_no_key_learns_nothing_and_one_keys_load_is_not_anothers(make_app: MakeApp) -> None:
    app = make_app(max_num_seqs=2, max_queued_requests=0)
    services = services_of_app(app)
    async with app.router.lifespan_context(app), client_of(app) as client:
        one, other = await new_key(services), await new_key(services)
        await settled(client, other, 200)
        services.admission.reserve(10, one.id)
        body = {"prompt": "Hi", "max_tokens": 2}
        refused = await client.post("/v1/completions", json=body, headers=one.headers)
        assert refused.status_code == 429
        assert "This API key already has 1 replies" in refused.json()["error"]["message"]
        assert (await client.post("/v1/completions", json=body, headers=other.headers)).status_code == 200
        assert (await client.post("/v1/completions", json=body)).status_code == 401
        evil = {**one.headers, "Host": "evil.example"}
        assert (await client.post("/v1/completions", json=body, headers=evil)).status_code == 421
        reasons = "gpt2svc_generations_rejected_total"
        assert services.metrics.registry.get_sample_value(reasons, {"reason": "key_requests"}) == 1


class CountingPool(ScriptedPool):
    num_asked = 0

    def get(self, model: str | None = None) -> Any:
        self.num_asked += 1
        return super().get(model)


async def test_a_refusal_reads_no_body_and_asks_neither_the_store_nor_an_engine(
    make_app: MakeApp, engine: ScriptedEngine, caplog: pytest.LogCaptureFixture
) -> None:
    pool = CountingPool(engine)
    made = make_app(max_num_seqs=1, max_queued_requests=0, api_key=KEY)
    settings: Settings = services_of_app(made).settings
    app = create_app(settings, engines=pool)
    services = services_of_app(app)
    caplog.set_level("INFO")
    async with app.router.lifespan_context(app), client_of(app) as client:
        client.headers["X-API-Key"] = KEY
        path = f"/api/conversations/{await new_conversation(client)}/messages"
        services.admission.reserve(10)
        await services.database.close()
        pool.num_asked = 0
        caplog.clear()
        sent: list[Message] = []

        async def receive() -> Message:
            raise AssertionError("somebody read the body")

        async def send(message: Message) -> None:
            sent.append(message)

        for _ in range(50):
            await app(_post(path), receive, send)
        assert [message.get("status") for message in sent[::2]] == [429] * 50
        assert pool.num_asked == 0
        assert not [record for record in caplog.records if record.getMessage() == "request"]

        def reports() -> list[Any]:
            return [r for r in caplog.records if "refused for load" in r.getMessage()]

        await until(lambda: bool(reports()))
        assert [record.num_refused for record in reports()] == [50]
        await services.database.open()


def _post(path: str) -> Scope:
    headers = [(b"host", b"127.0.0.1:8000"), (b"content-type", b"application/json"), (b"x-api-key", KEY.encode())]
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
        "state": {},
    }


async def test_refused_connections_are_kept_and_work_goes_on_over_a_real_server(
    live: httpx.AsyncClient, app: FastAPI, engine: ScriptedEngine
) -> None:
    services = services_of_app(app)
    permits = [services.admission.reserve(1) for _ in range(services.admission.max_requests)]
    answers = await asyncio.gather(*(live.post("/v1/completions", json={"prompt": "Hi"}) for _ in range(100)))
    assert {answer.status_code for answer in answers} == {429}
    # Connections are kept: a refusal is no reason to open another one.
    assert all("connection" not in answer.headers for answer in answers)
    for permit in permits:
        permit.release()
    assert (await live.post("/v1/completions", json={"prompt": "Hi", "max_tokens": 2})).status_code == 200
    assert len(engine.requests) == 1
