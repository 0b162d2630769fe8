import asyncio
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from fastapi import FastAPI

from gpt2svc.api.event_stream import event_stream
from gpt2svc.api.services import Services
from gpt2svc.generation.events import Event, Token
from tests.api.conftest import client_of, new_conversation
from tests.fakes.engine import ScriptedEngine
from tests.fakes.running_app import running
from tests.fakes.sse import SseEvent, parse_sse, reply_text

MESSAGE_FIELDS = {
    "id",
    "conversation_id",
    "parent_id",
    "role",
    "content",
    "status",
    "settings",
    "model",
    "usage",
    "finish_reason",
    "created_at",
}
EVENT_STREAM = {"Accept": "text/event-stream"}


async def messages_of(client: httpx.AsyncClient, conversation_id: str) -> list[dict[str, object]]:
    response = await client.get(f"/api/conversations/{conversation_id}/messages")
    assert response.status_code == 200, response.text
    return list(response.json()["data"])


async def test_whole_reply_is_the_stored_message(client: httpx.AsyncClient) -> None:
    identifier = await new_conversation(client)
    response = await client.post(
        f"/api/conversations/{identifier}/messages", json={"content": "Hi", "settings": {"seed": 5}}
    )
    assert response.status_code == 201
    reply = response.json()
    assert reply.keys() >= MESSAGE_FIELDS
    assert (reply["role"], reply["content"], reply["status"]) == ("assistant", "Hello there", "completed")
    assert (reply["settings"]["seed"], reply["model"], reply["finish_reason"]) == (5, "tiny", "stop")
    assert reply["usage"]["total_tokens"] == reply["usage"]["prompt_tokens"] + reply["usage"]["completion_tokens"]
    assert reply.pop("dropped_message_ids") == []
    assert response.headers["location"] == f"/api/generations/{reply['generation_id']}"
    user, stored = await messages_of(client, identifier)
    assert stored == reply
    assert user.keys() >= MESSAGE_FIELDS
    assert (user["role"], user["content"], user["id"]) == ("user", "Hi", reply["parent_id"])
    assert (user["status"], user["settings"], user["usage"]) == ("completed", None, None)


async def test_streamed_tokens_are_the_stored_reply_byte_for_byte(
    live: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    engine.say("Привіт 🙂\u2028 рядок\x85 і\u2029 кінець\r\nend")
    identifier = await new_conversation(live)
    response = await live.post(
        f"/api/conversations/{identifier}/messages", json={"content": "Hi"}, headers=EVENT_STREAM
    )
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-cache, no-transform"
    assert response.headers["x-accel-buffering"] == "no"
    for line_break in ("\u2028", "\u2029", "\x85", "\r"):
        assert line_break.encode() not in response.content
    events = parse_sse(response.content)
    assert [event.name for event in events[:3]] == ["queued", "started", "token"]
    tokens = [event for event in events if event.name == "token"]
    assert [event.id for event in tokens] == [str(n + 1) for n in range(len(tokens))]
    assert (events[-1].name, events[-1].id) == ("done", str(len(tokens) + 1))
    assert [event.id for event in events[:2]] == [None, None]
    stored = (await messages_of(live, identifier))[-1]
    assert reply_text(events) == stored["content"] == "Привіт 🙂\u2028 рядок\x85 і\u2029 кінець\r\nend"
    assert events[-1].data["usage"] == stored["usage"]


@pytest.mark.parametrize(
    ("accept", "stream", "is_stream"),
    [
        ("*/*", None, False),
        ("application/json", None, False),
        ("text/event-stream", None, True),
        ("application/json, text/event-stream;q=0.5", None, False),
        ("text/event-stream;q=0", None, False),
        ("application/json", True, True),
        ("text/event-stream", False, False),
    ],
)
async def test_reply_is_streamed_as_asked(
    client: httpx.AsyncClient, accept: str, stream: bool | None, is_stream: bool
) -> None:
    identifier = await new_conversation(client)
    body = {"content": "Hi"} | ({"stream": stream} if stream is not None else {})
    response = await client.post(f"/api/conversations/{identifier}/messages", json=body, headers={"Accept": accept})
    assert response.headers["content-type"].startswith("text/event-stream" if is_stream else "application/json")


async def test_log_probabilities_come_with_the_tokens_that_ask_for_them(client: httpx.AsyncClient) -> None:
    identifier = await new_conversation(client)
    body = {"content": "Hi", "stream": True, "settings": {"logprobs": 2}}
    events = parse_sse((await client.post(f"/api/conversations/{identifier}/messages", json=body)).content)
    token = next(event for event in events if event.name == "token")
    assert token.data["logprob"] == -0.5
    assert [top["logprob"] for top in token.data["top_logprobs"]] == [-0.5, -1.5]
    assert all(isinstance(top["text"], str) for top in token.data["top_logprobs"])


async def test_second_message_while_a_reply_is_written_gets_409_that_names_it(
    live: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    engine.hold_at(1)
    identifier = await new_conversation(live)
    url = f"/api/conversations/{identifier}/messages"
    first = asyncio.create_task(live.post(url, json={"content": "Hi"}))
    await engine.wait_for_requests(1)
    second = await live.post(url, json={"content": "And?"})
    assert second.status_code == 409
    assert second.headers["x-should-retry"] == "false"
    reply = (await messages_of(live, identifier))[-1]
    assert str(reply["generation_id"]) in second.json()["error"]["message"]
    assert second.json()["error"]["code"] == "conversation_busy"
    engine.release()
    assert (await first).status_code == 201
    assert len(await messages_of(live, identifier)) == 2


async def test_same_idempotency_key_stores_nothing_and_shows_the_first_reply(client: httpx.AsyncClient) -> None:
    identifier = await new_conversation(client)
    url = f"/api/conversations/{identifier}/messages"
    headers = {"Idempotency-Key": "key-1"}
    first = await client.post(url, json={"content": "Hi"}, headers=headers)
    again = await client.post(url, json={"content": "Hi"}, headers=headers)
    streamed = await client.post(url, json={"content": "Hi", "stream": True}, headers=headers)
    assert (first.status_code, again.status_code, streamed.status_code) == (201, 200, 200)
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == streamed.headers["idempotent-replayed"] == "true"
    assert again.json() == first.json()
    assert reply_text(parse_sse(streamed.content)) == first.json()["content"]
    assert len(await messages_of(client, identifier)) == 2
    other = await client.post(url, json={"content": "Something else"}, headers=headers)
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_mismatch")


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb", "ключ"])
async def test_unusable_idempotency_key_is_refused(client: httpx.AsyncClient, key: str) -> None:
    identifier = await new_conversation(client)
    response = await client.post(
        f"/api/conversations/{identifier}/messages",
        json={"content": "Hi"},
        headers={"Idempotency-Key": key.encode()},  # type: ignore[dict-item]
    )
    assert response.status_code == 422
    assert response.json()["error"]["param"] == "Idempotency-Key"
    assert await messages_of(client, identifier) == []


async def test_overload_returns_429_and_writes_nothing(
    make_app: Callable[..., FastAPI], engine: ScriptedEngine
) -> None:
    app = make_app(max_num_seqs=1, max_queued_requests=1)
    async with running(app) as url, httpx.AsyncClient(base_url=url, timeout=20) as client:
        engine.hold_at(0)
        conversations = [await new_conversation(client) for _ in range(3)]
        replies = [
            asyncio.create_task(client.post(f"/api/conversations/{c}/messages", json={"content": "Hi"}))
            for c in conversations[:2]
        ]
        await engine.wait_for_requests(2)
        refused = await client.post(f"/api/conversations/{conversations[2]}/messages", json={"content": "Hi"})
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["error"]["type"] == "rate_limit_error"
        assert await messages_of(client, conversations[2]) == []
        engine.release()
        assert [(await reply).status_code for reply in replies] == [201, 201]


async def test_model_that_is_still_fetched_gives_503_with_progress_and_stores_nothing(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    identifier = await new_conversation(client)
    engine.set_status("downloading", stage="Downloading model.safetensors", percent=12.0, has_tokenizer=False)
    response = await client.post(f"/api/conversations/{identifier}/messages", json={"content": "Hi"})
    assert response.status_code == 503
    assert "12.0%" in response.json()["error"]["message"]
    assert response.headers["retry-after"] == "1"
    assert await messages_of(client, identifier) == []


async def test_crashed_worker_ends_the_reply_as_interrupted_and_the_next_one_works(
    live: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    engine.hold_at(3)
    identifier = await new_conversation(live)
    url = f"/api/conversations/{identifier}/messages"
    first = asyncio.create_task(live.post(url, json={"content": "Hi", "stream": True}))
    await engine.wait_for_requests(1)
    engine.crash()
    events = parse_sse((await first).content)
    assert (events[-1].name, events[-1].data["status"]) == ("error", "interrupted")
    assert events[-1].data["code"] == "worker_crashed"
    kept = (await messages_of(live, identifier))[-1]
    assert (kept["status"], kept["content"]) == ("interrupted", reply_text(events))
    engine.release()
    engine.recover()
    whole = await live.post(url, json={"content": "Hi again"})
    assert (whole.status_code, whole.json()["status"]) == (201, "completed")


async def test_whole_reply_that_failed_says_so(live: httpx.AsyncClient, engine: ScriptedEngine) -> None:
    engine.hold_at(2)
    identifier = await new_conversation(live)
    reply = asyncio.create_task(live.post(f"/api/conversations/{identifier}/messages", json={"content": "Hi"}))
    await engine.wait_for_requests(1)
    engine.crash()
    response = await reply
    assert (response.status_code, response.json()["status"]) == (201, "interrupted")
    assert response.json()["error"]


async def test_messages_are_paged_oldest_first(client: httpx.AsyncClient) -> None:
    identifier = await new_conversation(client)
    url = f"/api/conversations/{identifier}/messages"
    for i in range(3):
        await client.post(url, json={"content": f"number {i}"})
    first = (await client.get(url, params={"limit": "4"})).json()
    rest = (await client.get(url, params={"limit": "4", "cursor": first["next_cursor"]})).json()
    contents = [message["content"] for message in first["data"] + rest["data"]]
    assert contents == [text for i in range(3) for text in (f"number {i}", "Hello there")]
    assert (first["has_more"], rest["has_more"], rest["next_cursor"]) == (True, False, None)


async def test_messages_that_do_not_fit_are_named(make_app: Callable[..., FastAPI], engine: ScriptedEngine) -> None:
    app = make_app(prompt_max_messages=2)
    async with app.router.lifespan_context(app), client_of(app) as client:
        identifier = await new_conversation(client)
        url = f"/api/conversations/{identifier}/messages"
        await client.post(url, json={"content": "One"})
        reply = (await client.post(url, json={"content": "Two"})).json()
        old = [message["id"] for message in await messages_of(client, identifier)][:2]
        assert set(reply["dropped_message_ids"]) <= set(old)
        assert reply["dropped_message_ids"]


async def test_stream_ends_with_what_went_wrong_when_its_events_fail(services: Services) -> None:
    async def broken() -> AsyncIterator[Event]:
        yield Token(id=1, text="a", token_id=1)
        raise RuntimeError("secret detail")

    frames = [bytes(chunk) async for chunk in event_stream(broken(), services.settings).body_iterator]  # type: ignore[arg-type]
    events = parse_sse(b"".join(frames))
    assert events[0] == SseEvent("token", {"text": "a", "token_id": 1}, "1")
    assert (events[1].name, events[1].data["status"], events[1].id) == ("error", "failed", None)
    assert "secret" not in events[1].data["message"]


async def test_a_lone_surrogate_in_parent_id_is_named(client: httpx.AsyncClient) -> None:
    identifier = await new_conversation(client)
    response = await client.post(
        f"/api/conversations/{identifier}/messages",
        content=b'{"content": "hi", "parent_id": "\\ud800"}',
        headers={"Content-Type": "application/json"},
    )
    assert response.status_code == 422
    assert response.json()["error"]["param"] == "parent_id"
    assert await messages_of(client, identifier) == []


@pytest.mark.parametrize("content", ["\u200b", "\ufeff\u2060", "\u0007", " \t\u00ad\n"])
async def test_content_in_which_nothing_can_be_seen_is_blank(client: httpx.AsyncClient, content: str) -> None:
    identifier = await new_conversation(client)
    response = await client.post(f"/api/conversations/{identifier}/messages", json={"content": content})
    assert response.status_code == 422
    assert response.json()["error"]["param"] == "content"
    assert await messages_of(client, identifier) == []


async def test_a_string_that_is_too_long_is_measured_in_characters(client: httpx.AsyncClient) -> None:
    response = await client.post("/api/conversations", json={"title": "x" * 1000})
    assert response.status_code == 422
    assert "at most 200 characters" in response.json()["error"]["message"]
