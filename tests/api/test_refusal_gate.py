"""The gate before the layers says what they would say, and only when it is sure of it."""

import asyncio
import logging
from collections.abc import Callable
from email.parser import BytesParser

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import Scope

from gpt2svc.app import gate_of_app, services_of_app
from tests.api.conftest import client_of
from tests.api.test_keys import new_key, revoke, settled
from tests.fakes.chat_stack import until
from tests.fakes.engine import ScriptedEngine

MakeApp = Callable[..., FastAPI]

PATH = "/v1/completions"


def post(path: str = PATH, method: str = "POST", **headers: str) -> Scope:
    named = {"host": "127.0.0.1:8000", "content-type": "application/json", **headers}
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in named.items()]
    return {"method": method, "path": path, "headers": pairs}


def as_response(answer: bytes) -> httpx.Response:
    head, _, body = answer.partition(b"\r\n\r\n")
    parsed = BytesParser().parsebytes(head + b"\r\n\r\n")
    return httpx.Response(429, headers=list(parsed.items()), content=body)


async def test_its_answer_is_that_of_the_layers(make_app: MakeApp) -> None:
    app = make_app(max_num_seqs=1, max_queued_requests=0)
    services = services_of_app(app)
    async with app.router.lifespan_context(app), client_of(app) as client:
        services.admission.reserve(10)
        layers = await client.post(PATH, json={}, headers={"X-Request-ID": "mine"})
        answer = gate_of_app(app).refuse(post(x_request_id="mine"))
        assert answer is not None
        gate = as_response(answer)
        assert (gate.status_code, gate.text) == (layers.status_code, layers.text)
        drawn = {"retry-after-ms", "retry-after"}  # spread, so that not all come back together
        assert {name: value for name, value in gate.headers.items() if name not in drawn} == {
            name: value for name, value in layers.headers.items() if name not in drawn
        }
        assert int(gate.headers["retry-after"]) >= 1
        assert gate.headers["x-request-id"] == "mine"
        other = gate_of_app(app).refuse(post())
        assert other is not None
        assert as_response(other).headers["x-request-id"].startswith("req_")
        for name, labels in {
            "gpt2svc_http_requests_total": {"route": PATH, "status": "4xx"},
            "gpt2svc_generations_rejected_total": {"reason": "requests"},
        }.items():
            assert services.metrics.registry.get_sample_value(name, labels) == 3


@pytest.mark.parametrize(
    "scope",
    [
        post(method="GET"),
        post("/api/conversations"),
        post("/v1/completions/"),
        post(idempotency_key="one"),
        post(host="evil.example"),
        post(origin="http://evil.example"),
        post(sec_fetch_site="cross-site"),
    ],
)
async def test_what_the_app_would_answer_otherwise_goes_to_the_app(make_app: MakeApp, scope: Scope) -> None:
    app = make_app(max_num_seqs=1, max_queued_requests=0)
    async with app.router.lifespan_context(app), client_of(app) as client:
        await client.get("/api/health")  # the keys, of which there are none, have been read
        services_of_app(app).admission.reserve(10)
        assert gate_of_app(app).refuse(post()) is not None
        assert gate_of_app(app).refuse(scope) is None


async def test_it_is_silent_while_there_is_a_place_and_when_the_service_stops(make_app: MakeApp) -> None:
    app = make_app(max_num_seqs=1, max_queued_requests=0)
    services = services_of_app(app)
    async with app.router.lifespan_context(app), client_of(app) as client:
        await client.get("/api/health")
        assert gate_of_app(app).refuse(post()) is None
        permit = services.admission.reserve(10)
        assert gate_of_app(app).refuse(post()) is not None
        permit.release()
        assert gate_of_app(app).refuse(post()) is None
        await services.generations.stop(0)
        services.admission.reserve(10)
        assert gate_of_app(app).refuse(post()) is None


async def test_only_keys_that_were_good_a_moment_ago_are_refused_and_each_for_its_own_load(make_app: MakeApp) -> None:
    app = make_app(max_num_seqs=2, max_queued_requests=0)
    services, gate = services_of_app(app), gate_of_app(app)
    async with app.router.lifespan_context(app), client_of(app) as client:
        assert gate.refuse(post()) is None  # nobody has read the keys yet
        one, other, admin = await new_key(services), await new_key(services), await new_key(services, "admin")
        await settled(client, admin, 200)

        def as_seen(headers: dict[str, str]) -> httpx.Response | None:
            given = {name.lower().replace("-", "_"): value for name, value in headers.items()}
            answer = gate.refuse(post(**given))
            return as_response(answer) if answer is not None else None

        services.admission.reserve(10, one.id)
        refused = as_seen(one.headers)
        assert refused is not None
        assert "This API key already has 1 replies" in refused.json()["error"]["message"]
        assert as_seen(other.headers) is None
        services.admission.reserve(10, other.id)
        assert as_seen({"Authorization": f"Bearer {other.headers['X-API-Key']}"}) is not None
        for headers in ({}, {"X-API-Key": "g2s_unknown"}, admin.headers):
            assert as_seen(headers) is None  # 401, 401, 403: the layers' to say

        # Nobody asks but the gate, and yet it hears of a revoked key.
        await revoke(services, one)

        async def is_unknown() -> bool:
            return as_seen(one.headers) is None

        await until(is_unknown)
        assert as_seen(other.headers) is not None


async def test_a_store_that_fails_is_no_fault_of_the_gate(make_app: MakeApp, caplog: pytest.LogCaptureFixture) -> None:
    app = make_app(max_num_seqs=1, max_queued_requests=0)
    services = services_of_app(app)
    async with app.router.lifespan_context(app), client_of(app) as client:
        await client.get("/api/health")
        services.admission.reserve(10)
        await services.database.close()
        for _ in range(3):
            await asyncio.sleep(0.06)  # the keys grow old, and can't be read again
            assert gate_of_app(app).refuse(post()) is not None
        assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
        await services.database.open()


async def test_at_debug_each_refusal_has_its_line_in_the_log(
    make_app: MakeApp, engine: ScriptedEngine, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app(max_num_seqs=1, max_queued_requests=0)
    async with app.router.lifespan_context(app), client_of(app) as client:
        await client.get("/api/health")
        services_of_app(app).admission.reserve(10)
        assert gate_of_app(app).refuse(post()) is not None
        caplog.set_level("DEBUG")
        assert gate_of_app(app).refuse(post()) is None
