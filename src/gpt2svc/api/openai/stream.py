"""Server-sent events as OpenAI's clients can take them.

Only `data:` lines: with an `id:` the Python client dispatches on every blank line from then on and falls over the next
comment, which is why comments end in a single line break too. `[DONE]` ends a stream that succeeded, and no other.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, cast

from pydantic import BaseModel
from sse_starlette import ServerSentEvent
from starlette.types import Receive, Scope, Send

from gpt2svc.api.openai.errors import of_stream_failure
from gpt2svc.api.sse import SseResponse, one_line
from gpt2svc.completions.completion import Completion
from gpt2svc.config import Settings

DONE = b"data: [DONE]\n\n"


class Ping(ServerSentEvent):
    def encode(self) -> bytes:
        return b": ping\n"


class CompletionStream(SseResponse):
    """The chunks of a completion, which is closed when the response ends, however it does."""

    def __init__(self, completion: Completion, chunks: AsyncIterator[Mapping[str, Any]], settings: Settings) -> None:
        super().__init__(_frames(chunks), ping_s=settings.sse_ping_s, send_timeout_s=settings.sse_send_timeout_s)
        self.ping_message_factory = Ping
        self._completion = completion

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._completion.close()


def stream_docs(chunk: type[BaseModel]) -> dict[str, Any]:
    """How a stream of such chunks stands on the OpenAPI page."""
    return {
        "schema": {
            "type": "object",
            "description": "One event of the stream; the last one's data is `[DONE]`, or an error object.",
            "properties": {
                "data": {
                    "type": "string",
                    "anyOf": [
                        {"const": "[DONE]"},
                        {
                            "contentMediaType": "application/json",
                            "contentSchema": {
                                "anyOf": [
                                    {"$ref": f"#/components/schemas/{chunk.__name__}"},
                                    {"$ref": "#/components/schemas/ErrorOut"},
                                ]
                            },
                        },
                    ],
                }
            },
            "required": ["data"],
        }
    }


def data_frame(data: Mapping[str, Any]) -> bytes:
    return f"data: {one_line(data)}\n\n".encode()


async def _frames(chunks: AsyncIterator[Mapping[str, Any]]) -> AsyncIterator[bytes]:
    async with aclosing(cast(AsyncGenerator[Mapping[str, Any], None], chunks)) as open_chunks:
        try:
            async for chunk in open_chunks:
                yield data_frame(chunk)
        except Exception as error:
            answer = of_stream_failure(error)
            yield data_frame(answer.body())
        else:
            yield DONE
