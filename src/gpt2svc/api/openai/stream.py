"""Server-sent events as OpenAI's clients can take them.

Only `data:` lines: with an `id:` the Python client dispatches on every blank line from then on and falls over the next
comment, which is why comments end in a single line break too. `[DONE]` ends a stream that succeeded, and no other.
"""

import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, cast

from pydantic import BaseModel
from sse_starlette import ServerSentEvent
from starlette.types import Receive, Scope, Send

from gpt2svc.api.openai.errors import of_domain
from gpt2svc.api.sse import LINE_BREAKS, SseResponse
from gpt2svc.completions.completion import Completion
from gpt2svc.config import Settings
from gpt2svc.errors import Gpt2svcError

logger = logging.getLogger(__name__)

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
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).translate(LINE_BREAKS)
    return f"data: {text}\n\n".encode()


async def _frames(chunks: AsyncIterator[Mapping[str, Any]]) -> AsyncIterator[bytes]:
    async with aclosing(cast(AsyncGenerator[Mapping[str, Any], None], chunks)) as open_chunks:
        try:
            async for chunk in open_chunks:
                yield data_frame(chunk)
        except Exception as error:
            if not isinstance(error, Gpt2svcError):
                logger.exception("A stream failed")
            answer = of_domain(error if isinstance(error, Gpt2svcError) else Gpt2svcError(str(error)))
            yield data_frame(answer.body())
        else:
            yield DONE
