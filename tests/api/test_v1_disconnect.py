"""A client that leaves stops the work, streamed or not, running or still waiting for the model."""

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from gpt2svc.app import services_of_app
from tests.fakes.chat_stack import until
from tests.fakes.engine import ScriptedEngine
from tests.fakes.running_app import running

CHAT = ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}], "n": 2})
TEXT = ("/v1/completions", {"prompt": ["Hi", "Ho"]})
SUFFIX = ("/v1/completions", {"prompt": "Hi", "suffix": "end", "best_of": 1})


@pytest.mark.parametrize(("path", "body"), [CHAT, TEXT])
@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize("is_running", [True, False])
async def test_client_who_leaves_stops_every_sequence(
    app: FastAPI, engine: ScriptedEngine, path: str, body: dict[str, Any], is_stream: bool, is_running: bool
) -> None:
    if is_running:
        engine.hold_at(1)
    else:
        engine.set_status("loading")
    admission = services_of_app(app).admission
    async with running(app) as url, httpx.AsyncClient(base_url=url) as client:
        asking = asyncio.ensure_future(client.post(path, json={**body, "stream": is_stream}))
        await engine.wait_for_requests(2)
        assert admission.num_requests == 2
        asking.cancel()
        await engine.wait_until_idle()
        assert len(engine.aborted) == 2
        await until(lambda: admission.num_requests == 0)
        assert admission.num_tokens == 0
        engine.recover()
        engine.release()
        assert (await client.post(path, json=body)).status_code == 200


@pytest.mark.parametrize(
    ("path", "body"), [("/api/next-token", {"prompt": "Hi"}), ("/api/perplexity", {"text": "Once upon a time"}), SUFFIX]
)
async def test_client_who_leaves_stops_the_scoring_of_a_text(
    app: FastAPI, engine: ScriptedEngine, path: str, body: dict[str, Any]
) -> None:
    engine.set_status("loading")
    admission = services_of_app(app).admission
    async with running(app) as url, httpx.AsyncClient(base_url=url) as client:
        asking = asyncio.ensure_future(client.post(path, json=body))
        await engine.wait_for_requests(1)
        asking.cancel()
        await engine.wait_until_idle()
        assert len(engine.aborted) == 1
        await until(lambda: admission.num_requests == 0)


async def test_stop_of_the_service_ends_streams_with_an_error_and_refuses_new_work(
    app: FastAPI, engine: ScriptedEngine
) -> None:
    engine.hold_at(2)
    services = services_of_app(app)
    path, body = CHAT
    async with running(app) as url, httpx.AsyncClient(base_url=url) as client:
        asking = asyncio.ensure_future(client.post(path, json={**body, "stream": True}))
        whole = asyncio.ensure_future(client.post(path, json=body))
        await engine.wait_for_requests(4)
        await services.completions.stop()
        text = (await asking).text
        assert '"code":"server_stopped"' in text.replace(" ", "")
        assert "[DONE]" not in text
        assert (await whole).status_code == 503
        late = await client.post(path, json=body)
        assert (late.status_code, late.json()["error"]["code"]) == (503, "server_stopped")
        await until(lambda: services.admission.num_requests == 0)


async def test_stop_gives_running_work_its_time(app: FastAPI, engine: ScriptedEngine) -> None:
    engine.hold_at(1)
    services = services_of_app(app)
    path, body = TEXT
    async with running(app) as url, httpx.AsyncClient(base_url=url) as client:
        asking = asyncio.ensure_future(client.post(path, json=body))
        await engine.wait_for_requests(2)
        stopping = asyncio.ensure_future(services.completions.stop(drain_s=60))
        await asyncio.sleep(0)
        engine.release()
        await stopping
        assert (await asking).status_code == 200
