"""Too much at once is refused at once, truthfully, and nobody is starved."""

import asyncio
from collections.abc import Callable

import httpx
import pytest
from fastapi import FastAPI

from gpt2svc.api.openapi_limits import LIMIT_HEADERS
from gpt2svc.api.services import Services
from gpt2svc.app import services_of_app
from tests.api.conftest import client_of, new_conversation
from tests.api.test_keys import new_key, settled
from tests.fakes.chat_stack import until
from tests.fakes.engine import ScriptedEngine

MakeApp = Callable[..., FastAPI]


async def test_of_a_thousand_posts_at_once_exactly_as_many_as_fit_are_accepted_and_nothing_more_is_written(
    make_app: MakeApp, engine: ScriptedEngine
) -> None:
    app = make_app(max_num_seqs=8, max_queued_requests=8)
    services = services_of_app(app)
    engine.hold_at(1)
    async with app.router.lifespan_context(app), client_of(app) as client:

        async def create(uow) -> list[str]:  # type: ignore[no-untyped-def]
            return [(await uow.conversations.create(owner="")).id for _ in range(1000)]

        conversations = await services.database.write(create)

        async def post(conversation: str) -> httpx.Response:
            return await client.post(f"/api/conversations/{conversation}/messages", json={"content": "Hi"})

        posts = [asyncio.create_task(post(conversation)) for conversation in conversations]
        await engine.wait_for_requests(16)
        while sum(task.done() for task in posts) < 984:
            await asyncio.wait([task for task in posts if not task.done()], return_when=asyncio.FIRST_COMPLETED)
        refusals = [task.result() for task in posts if task.done()]
        assert {response.status_code for response in refusals} == {429}
        for response in refusals:
            assert response.json()["error"]["code"] == "overloaded"
            seconds, milliseconds = int(response.headers["retry-after"]), int(response.headers["retry-after-ms"])
            assert 1000 * (seconds - 1) < milliseconds <= 1000 * seconds
            assert response.headers["x-ratelimit-remaining-requests"] == "0"
        assert len({response.headers["retry-after-ms"] for response in refusals}) > 10  # they come back apart
        engine.release()
        done = [response for response in await asyncio.gather(*posts) if response.status_code != 429]
        assert [response.status_code for response in done] == [201] * 16
        num_messages = 0
        for conversation in conversations:
            async with services.database.read() as uow:
                num_messages += (await uow.conversations.get(conversation, "")).num_messages
        assert num_messages == 32
        refused = services.metrics.registry.get_sample_value(
            "gpt2svc_generations_rejected_total", {"reason": "requests"}
        )
        assert refused == 984


async def test_generation_routes_say_how_much_is_free_and_others_do_not(
    make_app: MakeApp, engine: ScriptedEngine
) -> None:
    app = make_app(max_num_seqs=2, max_queued_requests=8, max_queued_tokens=10_000, max_key_share=0.5)
    services = services_of_app(app)
    async with app.router.lifespan_context(app), client_of(app) as client:
        conversation = await new_conversation(client)
        url = f"/api/conversations/{conversation}/messages"
        engine.hold_at(1)
        other = await services.conversations.create("")
        await services.turns.post(other.id, "", "Hi")
        response = await client.post(url, json={"content": 5})
        headers = response.headers
        assert headers.keys() >= LIMIT_HEADERS.keys()
        assert headers["x-ratelimit-limit-requests"] == "10"
        assert headers["x-ratelimit-remaining-requests"] == "9"
        assert headers["x-ratelimit-limit-tokens"] == "10000"
        free = 10_000 - services.admission.num_tokens
        assert headers["x-ratelimit-remaining-tokens"] == str(free)
        assert headers["x-ratelimit-reset-requests"].endswith("s")
        key = await new_key(services)
        await settled(client, key, 200)
        response = await client.post(url, json={"content": "Hi"}, headers=key.headers)
        assert response.status_code == 404
        assert response.headers["x-ratelimit-limit-requests"] == "5"
        for path in ("/livez", "/api/conversations"):
            assert not LIMIT_HEADERS.keys() & (await client.get(path, headers=key.headers)).headers.keys()
        engine.release()


async def test_a_greedy_key_leaves_places_to_a_polite_one(make_app: MakeApp, engine: ScriptedEngine) -> None:
    app = make_app(max_num_seqs=2, max_queued_requests=6)
    services = services_of_app(app)
    engine.hold_at(0)
    async with app.router.lifespan_context(app), client_of(app) as client:
        greedy, polite = await new_key(services), await new_key(services)
        await settled(client, polite, 200)
        statuses = []
        for key, count in ((greedy, 6), (polite, 1)):
            for _ in range(count):
                conversation = await services.conversations.create(key.id)
                url = f"/api/conversations/{conversation.id}/messages"
                body = {"content": "Hi", "stream": True}
                task = asyncio.create_task(client.post(url, json=body, headers=key.headers))
                statuses.append(task)
                num_accepted = min(len(statuses), 4) + (key is polite)
                await until(lambda n=num_accepted: services.admission.num_requests == n)  # type: ignore[misc]
                if 4 < len(statuses) <= 6:
                    await task
        refused = [task.result().status_code for task in statuses if task.done()]
        assert refused == [429, 429]
        assert not statuses[-1].done()  # the polite one has a place
        engine.release()
        assert [(await task).status_code for task in statuses] == [200, 200, 200, 200, 429, 429, 200]


@pytest.mark.parametrize("given", ["0", "-1", "soon", "nan", "inf", "1e9", "", "1" * 40, "١"])
async def test_a_timeout_that_is_none_is_refused_and_named(client: httpx.AsyncClient, given: str) -> None:
    conversation = await new_conversation(client)
    url = f"/api/conversations/{conversation}/messages"
    headers = {"X-Request-Timeout": given.encode()}
    response = await client.post(url, json={"content": "Hi"}, headers=headers)
    assert response.status_code == 422
    assert response.json()["error"]["param"] == "X-Request-Timeout"
    assert (await client.get(url)).json()["data"] == []


async def test_a_reply_ends_at_the_time_that_its_request_gave(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    engine.hold_at(0)
    conversation = await new_conversation(client)
    url = f"/api/conversations/{conversation}/messages"
    reply = await client.post(url, json={"content": "Hi"}, headers={"X-Request-Timeout": "0.05"})
    assert reply.status_code == 201
    assert reply.json()["status"] == "failed"
    generation = (await client.get(f"/api/generations/{reply.json()['generation_id']}")).json()
    assert generation["error_code"] == "deadline_exceeded"


async def test_a_stateless_text_ends_with_504_and_its_work_with_it(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    engine.hold_at(1)
    body = {"prompt": "Once upon a time", "model": "tiny"}
    response = await client.post("/v1/completions", json=body, headers={"X-Request-Timeout": "0.05"})
    assert response.status_code == 504
    assert response.json()["error"]["code"] == "deadline_exceeded"
    assert response.headers["x-should-retry"] == "false"
    await engine.wait_until_idle()
    assert engine.aborted == [request.request_id for request in engine.requests]


async def test_a_text_before_a_suffix_ends_with_504_and_every_place_comes_back(
    client: httpx.AsyncClient, services: Services, engine: ScriptedEngine
) -> None:
    engine.hold_at(1)
    body = {"prompt": "Once", "suffix": "end"}
    response = await client.post("/v1/completions", json=body, headers={"X-Request-Timeout": "0.05"})
    assert (response.status_code, response.json()["error"]["code"]) == (504, "deadline_exceeded")
    await engine.wait_until_idle()
    await until(lambda: services.admission.num_requests == 0)


@pytest.mark.parametrize(("path", "name"), [("/api/next-token", "prompt"), ("/api/perplexity", "text")])
async def test_scoring_ends_with_504_and_its_work_with_it(
    client: httpx.AsyncClient, services: Services, engine: ScriptedEngine, path: str, name: str
) -> None:
    engine.set_status("loading")
    body = {name: "Once upon a time"}
    response = await client.post(path, json=body, headers={"X-Request-Timeout": "0.05"})
    assert response.status_code == 504
    assert response.json()["error"]["code"] == "deadline_exceeded"
    assert services.admission.num_requests == 0
    await engine.wait_until_idle()
    assert len(engine.aborted) == len(engine.requests) == 1
    engine.recover()
    assert (await client.post(path, json=body, headers={"X-Request-Timeout": "60"})).status_code == 200
