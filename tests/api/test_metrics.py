"""/metrics tells what happened, in a number of series that no client can move."""

import random
import string

import httpx
from prometheus_client.parser import text_string_to_metric_families

from gpt2svc.api.services import Services
from tests.api.conftest import new_conversation
from tests.fakes.engine import ScriptedEngine


async def _samples(client: httpx.AsyncClient) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    response = await client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain")
    return {
        (sample.name.removeprefix("gpt2svc_"), frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def _key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


async def test_a_reply_is_counted_and_timed(client: httpx.AsyncClient, engine: ScriptedEngine) -> None:
    engine.say("Hello there")
    conversation = await new_conversation(client)
    reply = (await client.post(f"/api/conversations/{conversation}/messages", json={"content": "Hi"})).json()
    samples = await _samples(client)
    usage = reply["usage"]
    num_tokens = usage["completion_tokens"]
    assert num_tokens > 3
    assert samples[_key("generations_accepted_total")] == 1
    assert samples[_key("generations_finished_total", status="completed", finish_reason="stop")] == 1
    assert samples[_key("prompt_tokens_total")] == usage["prompt_tokens"]
    assert samples[_key("generation_tokens_total")] == num_tokens
    assert samples[_key("time_to_first_token_seconds_count")] == 1
    assert samples[_key("inter_token_latency_seconds_count")] == num_tokens - 1
    assert samples[_key("e2e_request_latency_seconds_count")] == 1
    assert samples[_key("database_write_seconds_count")] >= 3  # the conversation, the turn, the reply's end
    template = "/api/conversations/{conversation_id}/messages"
    assert samples[_key("http_requests_total", route=template, status="2xx")] == 1


async def test_each_token_of_a_step_counts(client: httpx.AsyncClient, engine: ScriptedEngine) -> None:
    engine.tokens_per_step = 3
    engine.say("Hello there")
    conversation = await new_conversation(client)
    reply = (await client.post(f"/api/conversations/{conversation}/messages", json={"content": "Hi"})).json()
    samples = await _samples(client)
    num_tokens = reply["usage"]["completion_tokens"]
    assert num_tokens > 6
    assert samples[_key("generation_tokens_total")] == num_tokens
    assert samples[_key("inter_token_latency_seconds_count")] == num_tokens - 3  # after those of the first step


async def test_what_runs_and_waits_is_shown_while_it_does(
    live: httpx.AsyncClient, engine: ScriptedEngine, services: Services
) -> None:
    engine.hold_at(2)
    engine.say("Hello there")
    conversation = await new_conversation(live)
    async with live.stream(
        "POST", f"/api/conversations/{conversation}/messages", json={"content": "Hi", "stream": True}
    ) as response:
        async for line in response.aiter_lines():
            if line.startswith("event: token"):
                break
        samples = await _samples(live)
        assert samples[_key("num_requests_running")] == 1
        assert samples[_key("num_requests_waiting")] == 0
        assert samples[_key("admission_requests")] == 1
        assert samples[_key("model_ready", model="tiny")] == 1
        assert samples[_key("kv_cache_slots", model="tiny")] == 8
        engine.release()


async def test_cancellations_resumes_and_restarts_are_counted(
    client: httpx.AsyncClient, engine: ScriptedEngine, services: Services
) -> None:
    engine.hold_at(2)
    conversation = await services.conversations.create("")
    turn = await services.turns.post(conversation.id, "", "Hi")
    await engine.wait_for_requests(1)
    await client.post(f"/api/generations/{turn.generation_id}/cancel")
    await client.get(f"/api/generations/{turn.generation_id}/events", params={"starting_after": 1})
    engine.crash()
    samples = await _samples(client)
    assert samples[_key("generations_finished_total", status="cancelled", finish_reason="abort")] == 1
    assert samples[_key("stream_resumes_total")] == 1
    assert samples[_key("worker_restarts_total", model="tiny")] == 1


async def test_random_methods_and_paths_add_no_series(client: httpx.AsyncClient) -> None:
    await client.get("/no/such/path")
    await client.get("/api/generations/gen_x")
    await client.post("/livez")
    before = set(await _samples(client))
    draw = random.Random(20261121)
    for _ in range(1000):
        word = "".join(draw.choices(string.ascii_letters, k=8))
        method = draw.choice(["GET", "POST", "DELETE", word.upper()])
        path = draw.choice([f"/{word}", f"/api/generations/{word}", f"/livez?{word}", f"/api/{word}/{word}"])
        await client.request(method, path)
    after = set(await _samples(client))
    new = {dict(labels).get("route") for _, labels in after - before}
    assert new <= {"/livez", "/api/generations/{generation_id}", "/metrics", "unmatched"}
    assert len(after - before) <= 8


async def test_openmetrics_is_given_to_who_asks_for_it(client: httpx.AsyncClient) -> None:
    response = await client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    assert response.text.endswith("# EOF\n")
