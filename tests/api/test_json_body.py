import asyncio
import json
from collections.abc import Iterable

import pytest
from starlette.types import Message, Receive, Scope, Send

from gpt2svc.api.middleware.json_body import JsonBodyMiddleware

DISCONNECT: Message = {"type": "http.disconnect"}


def part(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


class Exchange:
    """One request through the middleware: what the app got, and what was answered."""

    def __init__(self, messages: Iterable[Message], *, method: str = "POST") -> None:
        self.scope: Scope = {
            "type": "http",
            "method": method,
            "path": "/",
            "headers": [(b"content-type", b"application/json")],
        }
        self.messages = list(messages)
        self.received: list[Message] = []
        self.sent: list[Message] = []

    async def run(self, **limits: float) -> None:
        await JsonBodyMiddleware(self._app, **{"max_bytes": 10, **limits})(self.scope, self._receive, self._send)  # type: ignore[arg-type]

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.received = [await receive(), await receive()]

    async def _receive(self) -> Message:
        if not self.messages:
            await asyncio.Event().wait()
        return self.messages.pop(0)

    async def _send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int | None:
        return self.sent[0]["status"] if self.sent else None


async def test_body_arrives_whole_and_then_the_disconnect() -> None:
    exchange = Exchange([part(b'{"a"'), part(b": 1"), part(b"}", more=False), DISCONNECT])
    await exchange.run()
    assert exchange.received == [part(b'{"a": 1}', more=False), DISCONNECT]


@pytest.mark.parametrize(("size", "status"), [(10, None), (11, 413)])
async def test_bytes_are_counted_not_believed(size: int, status: int | None) -> None:
    body = json.dumps("x" * (size - 2)).encode()
    exchange = Exchange([*(part(body[i : i + 1]) for i in range(size)), part(b"", more=False), DISCONNECT])
    exchange.scope["headers"].append((b"content-length", b"1"))
    await exchange.run()
    assert exchange.status == status
    assert (exchange.received == []) is (status == 413)


async def test_endless_body_is_answered_without_its_end() -> None:
    exchange = Exchange([part(b" " * 1_000_000) for _ in range(50)])
    await exchange.run()
    assert exchange.status == 413
    assert exchange.messages


async def test_body_that_does_not_come_is_408() -> None:
    exchange = Exchange([part(b"{")])
    await exchange.run(read_timeout_s=0.01)
    assert exchange.status == 408
    assert exchange.received == []


async def test_client_who_leaves_in_the_middle_of_a_body_is_forgotten() -> None:
    exchange = Exchange([part(b"{"), DISCONNECT])
    await exchange.run()
    assert (exchange.sent, exchange.received) == ([], [])


async def test_methods_without_a_body_are_passed_on_untouched() -> None:
    exchange = Exchange([part(b"not json at all", more=False), DISCONNECT], method="GET")
    await exchange.run()
    assert exchange.received[0] == part(b"not json at all", more=False)


async def test_a_declared_length_far_over_the_limit_is_refused_before_any_of_it_is_read() -> None:
    exchange = Exchange([part(b"1")])
    exchange.scope["headers"].append((b"content-length", b"10000000000"))
    await exchange.run()
    assert exchange.sent[0]["status"] == 413
    assert len(exchange.messages) == 1
    assert exchange.received == []
