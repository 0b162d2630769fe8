"""Server-sent events: frames from events, and a response that lets go of readers who stopped reading."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.types import Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

# JSON allows these inside strings, but many clients split lines on them (Python's splitlines does).
_LINE_BREAKS = {ord(c): f"\\u{ord(c):04x}" for c in "\x7f\u0085\u2028\u2029"}


def frame(event: str, data: Mapping[str, Any], event_id: int | None = None) -> bytes:
    """One event on the wire: `id` (where it has one), `event`, and `data` as JSON on one line."""
    start = f"id: {event_id}\n" if event_id is not None else ""
    return f"{start}event: {event}\ndata: {one_line(data)}\n\n".encode()


def one_line(data: Mapping[str, Any]) -> str:
    """JSON on what every client takes for one line."""
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).translate(_LINE_BREAKS)


class SseResponse(EventSourceResponse):
    """Streams frames, with a comment every `ping_s` seconds so that nothing between us and the reader gives up.

    A reader who takes nothing for `send_timeout_s` seconds is let go. When the reader leaves, `frames` is closed; the
    generation that it shows knows nothing of that.
    """

    def __init__(self, frames: AsyncIterator[bytes], *, ping_s: float, send_timeout_s: float) -> None:
        super().__init__(
            frames,
            headers={"Cache-Control": "no-cache, no-transform"},
            sep="\n",
            ping=ping_s,
            ping_message_factory=lambda: ServerSentEvent(comment="ping", sep="\n"),
        )
        self._reader_timeout_s = send_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # NOTE: the library's own send_timeout leaves out the first and the last message of a stream.
        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(self._reader_timeout_s):
                await send(message)

        try:
            await super().__call__(scope, receive, send_in_time)
        except TimeoutError:
            logger.info("A reader took nothing for %g seconds and was let go", self._reader_timeout_s)
