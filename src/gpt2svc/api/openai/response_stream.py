"""A response's events as server-sent events, as OpenAI's clients can take them (see stream.py)."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, cast

from starlette.types import Receive, Scope, Send

from gpt2svc.api.openai.errors import of_stream_failure
from gpt2svc.api.openai.response_events import ResponseEvents
from gpt2svc.api.openai.stream import Ping
from gpt2svc.api.schemas.openai_response_object import ResponseStreamEvent
from gpt2svc.api.sse import SseResponse, frame
from gpt2svc.config import Settings
from gpt2svc.generation.events import Event
from gpt2svc.responses.head import ResponseHead

STREAM_DOCS: dict[str, Any] = {
    "schema": {
        "type": "object",
        "description": "One event of the stream. The last one is response.completed, .incomplete or .failed; or error, "
        "where the stream itself could not go on.",
        "properties": {
            "event": {"type": "string", "description": "The data's `type`."},
            "data": {
                "type": "string",
                "contentMediaType": "application/json",
                "contentSchema": {"$ref": f"#/components/schemas/{ResponseStreamEvent.__name__}"},
            },
        },
        "required": ["event", "data"],
    }
}


class ResponseStream(SseResponse):
    """`on_end` is called once, when the response has been sent or its reader has left."""

    def __init__(
        self,
        head: ResponseHead,
        events: AsyncIterator[Event],
        settings: Settings,
        *,
        after: int | None = None,
        on_end: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(
            _frames(ResponseEvents(head, after=after), events),
            ping_s=settings.sse_ping_s,
            send_timeout_s=settings.sse_send_timeout_s,
        )
        self.ping_message_factory = Ping
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            if self._on_end is not None:
                self._on_end()


async def _frames(wire: ResponseEvents, events: AsyncIterator[Event]) -> AsyncIterator[bytes]:
    async with aclosing(cast(AsyncGenerator[Event, None], events)) as open_events:
        try:
            async for event in wire.of(open_events):
                yield frame(event["type"], event)
        except Exception as error:
            answer = of_stream_failure(error)
            yield frame("error", wire.error(answer.code, answer.message))
