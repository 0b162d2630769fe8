import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from starlette.types import Message, Scope

from gpt2svc.api.accept import prefers_event_stream
from gpt2svc.api.sse import SseResponse, frame
from tests.fakes.sse import SseEvent, parse_sse

SCOPE: Scope = {"type": "http", "method": "GET"}


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "",
        "Привіт 🙂",
        "a\nb\r\nc\rd",
        "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e",
        '"\\/',
        "data: x\n\n",
        "\x00\x7f",
    ],
)
def test_any_text_survives_a_frame_on_one_line(text: str) -> None:
    encoded = frame("token", {"text": text}, 7)
    assert parse_sse(encoded) == [SseEvent("token", {"text": text}, "7")]
    assert len(encoded.decode().splitlines()) == 4  # as Python's own, greedier notion of lines has it
    assert json.loads(encoded.decode().splitlines()[2].removeprefix("data: ")) == {"text": text}


def test_event_without_an_id_has_no_id_line() -> None:
    assert frame("queued", {}) == b"event: queued\ndata: {}\n\n"


async def test_reader_who_stops_reading_is_let_go_and_the_events_are_closed() -> None:
    is_closed = asyncio.Event()
    sent: list[Message] = []

    async def frames() -> AsyncIterator[bytes]:
        try:
            while True:
                yield frame("token", {"text": "a"}, 1)
        finally:
            is_closed.set()

    async def send(message: Message) -> None:
        if len(sent) == 3:
            await asyncio.Event().wait()  # the reader's buffers are full
        sent.append(message)

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    await SseResponse(frames(), ping_s=300, send_timeout_s=0.05)(SCOPE, receive, send)
    assert is_closed.is_set()
    assert len(sent) == 3


async def test_reader_who_stops_before_the_end_of_the_stream_is_let_go_too() -> None:
    async def frames() -> AsyncIterator[bytes]:
        yield frame("done", {}, 1)

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body" and not message["more_body"]:
            await asyncio.Event().wait()

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    await SseResponse(frames(), ping_s=300, send_timeout_s=0.05)(SCOPE, receive, send)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", False),
        ("*/*", False),
        ("text/event-stream", True),
        ("TEXT/Event-Stream; charset=utf-8", True),
        ("text/event-stream;q=0.0", False),
        ("application/json;q=0.9, text/event-stream", True),
        ("application/json, text/event-stream;q=0.9", False),
        ("text/event-stream;q=x", False),
        (",;,=", False),
    ],
)
def test_accept_header_is_weighed(accept: str, expected: bool) -> None:
    assert prefers_event_stream(accept) is expected
