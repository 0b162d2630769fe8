"""A generation's events as a response, and how that stands on the OpenAPI page."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, cast

from gpt2svc.api.errors import from_domain
from gpt2svc.api.schemas.events import EVENT_SCHEMAS
from gpt2svc.api.sse import SseResponse, frame
from gpt2svc.config import Settings
from gpt2svc.errors import Gpt2svcError
from gpt2svc.generation.events import Event

logger = logging.getLogger(__name__)

EXAMPLE_STREAM = """\
event: queued
data: {"generation_id":"gen_01j9…","conversation_id":"conv_01j9…","message_id":"msg_01j9…","user_message_id":"msg_01j9…","position":0}

event: started
data: {"model":"starter","model_revision":"3f2a9c1b7d5e","prompt_tokens":9,"seed":42,"dropped_message_ids":[],"settings":{"temperature":0.7,"top_k":50}}

id: 1
event: token
data: {"text":"Hello","token_id":812}

id: 2
event: token
data: {"text":"!","token_id":0}

: ping

id: 3
event: done
data: {"status":"completed","finish_reason":"stop","usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12,"cached_tokens":0},"timings":{"queued":0.001,"prefill":0.02,"total":0.05,"tokens_per_second":100.0}}

"""  # noqa: E501 (an event's data is one line)

# NOTE: what stands here describes one event, as OpenAPI 3.2 does with `itemSchema`, which 3.1 does not have yet.
STREAM_DOCS: dict[str, Any] = {
    "schema": {
        "type": "object",
        "description": "One event of the stream.",
        "properties": {
            "event": {"enum": [schema.__name__.removesuffix("Event").lower() for schema in EVENT_SCHEMAS]},
            "id": {"type": "string", "description": "Number of the token; none with `queued` and `started`."},
            "data": {
                "type": "string",
                "contentMediaType": "application/json",
                "contentSchema": {
                    "oneOf": [{"$ref": f"#/components/schemas/{schema.__name__}"} for schema in EVENT_SCHEMAS]
                },
            },
        },
        "required": ["event", "data"],
    },
    "example": EXAMPLE_STREAM,
}


def event_stream(events: AsyncIterator[Event], settings: Settings) -> SseResponse:
    return SseResponse(_frames(events), ping_s=settings.sse_ping_s, send_timeout_s=settings.sse_send_timeout_s)


async def _frames(events: AsyncIterator[Event]) -> AsyncIterator[bytes]:
    # NOTE: no database work may stand in here or in a `finally`: when the viewer leaves, its awaits are cancelled too.
    async with aclosing(cast(AsyncGenerator[Event, None], events)) as open_events:
        try:
            async for event in open_events:
                yield frame(event.event, event.data, event.id)
        except Exception as error:
            # The head has gone out with 200, so the stream itself has to say that it is no success.
            logger.exception("An event stream failed")
            answer = from_domain(error if isinstance(error, Gpt2svcError) else Gpt2svcError(str(error)))
            data = {"status": "failed", "code": answer.code, "message": answer.message, "usage": None, "num_tokens": 0}
            yield frame("error", data)
