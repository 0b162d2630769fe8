"""A reply over the wire, read as bytes: what curl -N shows."""

import json
from typing import Any

import httpx
import pytest

from tests.e2e.service import Service
from tests.e2e.sse import SseEvent, parse_events, text_of
from tests.e2e.starter import endless, only


def post_stream(service: Service, conversation_id: str, body: dict[str, Any]) -> tuple[httpx.Response, bytes]:
    path = f"/api/conversations/{conversation_id}/messages"
    with service.client.stream("POST", path, json=body, headers={"Accept": "text/event-stream"}) as response:
        return response, b"".join(response.iter_raw())


def reply_of(service: Service, events: list[SseEvent]) -> dict[str, Any]:
    """The stored assistant's message of a streamed reply."""
    message_id = events[0].data["message_id"]
    [message] = [m for m in service.messages(events[0].data["conversation_id"]) if m["id"] == message_id]
    return message


def test_a_first_message_streams_a_reply_and_keeps_it(shared_service: Service) -> None:
    conversation_id = shared_service.new_conversation()
    response, body = post_stream(shared_service, conversation_id, {"content": "Hello! Who are you?"})
    assert response.status_code in (200, 201)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert "no-transform" in response.headers["cache-control"]
    assert response.headers["x-accel-buffering"] == "no"
    events = parse_events(body)
    tokens = [event for event in events if event.name == "token"]
    assert [event.name for event in events] == ["queued", "started", *["token"] * len(tokens), "done"]
    assert [event.id for event in events[2:]] == [str(n) for n in range(1, len(tokens) + 2)]
    assert {"text", "token_id"} <= tokens[0].data.keys()
    assert text_of(events).strip()
    user, reply = shared_service.messages(conversation_id)
    assert (user["role"], user["content"], user["status"]) == ("user", "Hello! Who are you?", "completed")
    assert (reply["role"], reply["content"], reply["status"]) == ("assistant", text_of(events), "completed")
    assert reply["parent_id"] == user["id"]
    assert reply["usage"] == events[-1].data["usage"]
    assert "User:" not in text_of(events)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "alphabet",
    ["абвгґєжзиіїйклщьюя ІЇЄҐ'", "🙂🇺🇦👩‍👩‍👧💛💙 ", "aбв🙂é中 \u2028\u0085"],
    ids=["ukrainian", "emoji", "mixed"],
)
def test_the_streamed_texts_are_the_stored_reply_byte_for_byte(
    shared_service: Service, alphabet: str, seed: int
) -> None:
    conversation_id = shared_service.new_conversation()
    settings = only(alphabet, num_tokens=60) | {"seed": seed}
    _, body = post_stream(shared_service, conversation_id, {"content": "Привіт! 🙂", "settings": settings})
    events = parse_events(body)
    assert events[-1].name == "done"
    stored = reply_of(shared_service, events)["content"]
    assert text_of(events).encode() == stored.encode()
    assert any(ord(character) > 127 for character in stored)


def test_the_same_seed_gives_the_same_reply_and_json_says_what_the_stream_said(shared_service: Service) -> None:
    body = {"content": "Tell me about Kyiv.", "settings": {"seed": 11, "max_new_tokens": 40}}
    _, raw = post_stream(shared_service, shared_service.new_conversation(), body)
    conversation_id = shared_service.new_conversation()
    whole = shared_service.client.post(f"/api/conversations/{conversation_id}/messages", json=body)
    assert whole.headers["content-type"].startswith("application/json")
    assert whole.json()["content"] == text_of(parse_events(raw))
    assert whole.json()["settings"]["seed"] == 11


def test_a_stream_cut_at_any_event_and_resumed_is_the_uncut_one(shared_service: Service) -> None:
    settings = only("абвгґ🙂", num_tokens=24) | {"seed": 3}
    body = {"content": "Привіт", "settings": settings}
    _, raw = post_stream(shared_service, shared_service.new_conversation(), body)
    events = parse_events(raw)
    generation_id = events[0].data["generation_id"]
    path = f"/api/generations/{generation_id}/events"
    for num_seen in range(len(events) - 2):
        kept = [event for event in events if event.id is not None][:num_seen]
        by_header = shared_service.client.get(path, headers={"Last-Event-ID": str(num_seen)})
        by_query = shared_service.client.get(path, params={"starting_after": num_seen})
        assert by_header.content == by_query.content
        rest = parse_events(by_header.content)
        assert text_of(kept) + text_of(rest) == text_of(events)
        assert rest[-1] == events[-1]
    done = shared_service.client.get(path, headers={"Last-Event-ID": str(events[-1].id)})
    assert done.status_code == 204
    assert parse_events(shared_service.client.get(path).content) == events


def test_a_reply_goes_on_when_the_reader_leaves_and_is_there_to_come_back_to(shared_service: Service) -> None:
    conversation_id = shared_service.new_conversation()
    path = f"/api/conversations/{conversation_id}/messages"
    body = {"content": "Hello", "settings": endless(300), "stream": True}
    with shared_service.client.stream("POST", path, json=body) as response:
        first = next(response.iter_raw())
    generation_id = parse_events(first)[0].data["generation_id"]
    events = parse_events(shared_service.client.get(f"/api/generations/{generation_id}/events").content)
    assert events[-1].name == "done"
    assert len([event for event in events if event.name == "token"]) == 300
    assert shared_service.messages(conversation_id)[1]["content"] == text_of(events)


def test_cancel_keeps_what_was_said(shared_service: Service) -> None:
    conversation_id = shared_service.new_conversation()
    path = f"/api/conversations/{conversation_id}/messages"
    received = b""
    with shared_service.client.stream("POST", path, json={"content": "Hi", "settings": endless(), "stream": True}) as r:
        for chunk in r.iter_raw():
            received += chunk
            events = parse_events(received)
            if len(events) == 12:
                shared_service.client.post(f"/api/generations/{events[0].data['generation_id']}/cancel")
    events = parse_events(received)
    assert events[-1].name == "done"
    assert events[-1].data["status"] == "cancelled"
    reply = reply_of(shared_service, events)
    assert (reply["status"], reply["content"]) == ("cancelled", text_of(events))


def test_a_conversation_is_remembered_in_the_prompt(shared_service: Service) -> None:
    conversation_id = shared_service.new_conversation()
    path = f"/api/conversations/{conversation_id}/messages"
    first = shared_service.client.post(path, json={"content": "Hello", "settings": {"max_new_tokens": 8}}).json()
    second = shared_service.client.post(path, json={"content": "Hello", "settings": {"max_new_tokens": 8}}).json()
    assert second["usage"]["prompt_tokens"] > first["usage"]["prompt_tokens"] + 5


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"content": ""}, 422, "content"),
        ({"content": "  \n "}, 422, "content"),
        ({"content": 5}, 422, "content"),
        ({"content": "a\x00b"}, 422, "content"),
        ({"content": "hi", "surprise": 1}, 422, "surprise"),
        ({"content": "слово " * 5_000}, 422, "content"),
        ({"content": "hi", "settings": {"temperature": 9}}, 422, "temperature"),
        ({"content": "hi", "settings": {"max_new_tokens": 10**30}}, 422, "max_new_tokens"),
        ({"content": "hi", "settings": {"nonsense": 1}}, 422, "nonsense"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(
    shared_service: Service, body: dict[str, Any], status: int, field: str
) -> None:
    conversation_id = shared_service.new_conversation()
    path = f"/api/conversations/{conversation_id}/messages"
    response = shared_service.client.post(path, content=json.dumps(body), headers={"content-type": "application/json"})
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert field in f"{error['param']} {error['message']}"
    assert shared_service.messages(conversation_id) == []


@pytest.mark.parametrize(
    "raw",
    [
        b'{"content": "hi", "settings": {"temperature": NaN}}',
        b'{"content": "\\ud800"}',
        b'{"content": "hi"',
        b"\xff\xfe",
        b"[]",
    ],
)
def test_broken_json_is_refused(shared_service: Service, raw: bytes) -> None:
    conversation_id = shared_service.new_conversation()
    path = f"/api/conversations/{conversation_id}/messages"
    response = shared_service.client.post(path, content=raw, headers={"content-type": "application/json"})
    assert 400 <= response.status_code < 500
    assert response.json()["error"]["message"]
    assert shared_service.messages(conversation_id) == []


def test_a_body_of_ten_megabytes_is_refused(shared_service: Service) -> None:
    body = json.dumps({"content": "x" * 10_000_000})
    path = f"/api/conversations/{shared_service.new_conversation()}/messages"
    response = shared_service.client.post(path, content=body, headers={"content-type": "application/json"})
    assert response.status_code == 413


def test_the_documentation_needs_no_other_host(shared_service: Service) -> None:
    page = shared_service.client.get("/docs").text
    assert "https://" not in page
    assert "http://" not in page
    paths = shared_service.client.get("/openapi.json").json()["paths"]
    assert {"/api/conversations", "/api/generations/{generation_id}/events", "/readyz"} <= paths.keys()
