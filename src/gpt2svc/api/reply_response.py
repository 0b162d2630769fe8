"""A reply as a response: streamed, or whole once it has ended. Every route that begins one answers so."""

from typing import Annotated, Any

from fastapi import Header
from starlette.responses import JSONResponse, Response

from gpt2svc.api.accept import prefers_event_stream
from gpt2svc.api.error_docs import BODY, error_responses
from gpt2svc.api.event_stream import STREAM_DOCS, event_stream
from gpt2svc.api.schemas.messages import ReplyOut
from gpt2svc.api.services import Services
from gpt2svc.chat.text_input import MAX_IDEMPOTENCY_KEY_LENGTH
from gpt2svc.chat.turns import AcceptedTurn

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Sent again with the same key and body, a request stores nothing and shows the first one's reply. "
        f"1 to {MAX_IDEMPOTENCY_KEY_LENGTH} printable ASCII characters, kept for a day.",
    ),
]

# How the answer stands on the OpenAPI page, for the route's decorator.
REPLY_ROUTE: dict[str, Any] = {
    "status_code": 201,
    "response_model": ReplyOut,
    "response_description": "The whole reply, as JSON.",
    "responses": {
        200: {
            "description": "The reply as a stream of events; or, as JSON, a reply that this Idempotency-Key brought "
            "before (`Idempotent-Replayed: true`).",
            "model": ReplyOut,
            "content": {"text/event-stream": STREAM_DOCS},
        },
        **error_responses(*BODY, 404, 409, 429, 503, 507),
    },
}


async def reply_response(
    services: Services, owner: str, turn: AcceptedTurn, *, stream: bool | None, accept: str
) -> Response:
    """`stream` is the body's wish; without one, the `Accept` header decides."""
    is_stream = stream if stream is not None else prefers_event_stream(accept)
    response = (
        event_stream(services.generations.events(turn.generation_id, owner), services.settings)
        if is_stream
        else await _whole_reply(services, owner, turn.generation_id, is_new=not turn.replayed)
    )
    response.headers["Location"] = f"/api/generations/{turn.generation_id}"
    if turn.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response


async def _whole_reply(services: Services, owner: str, generation_id: str, *, is_new: bool) -> Response:
    generation = await services.generations.result(generation_id, owner)
    message = await services.conversations.message(generation.conversation_id, generation.message_id, owner)
    reply = ReplyOut.with_dropped(message, generation.dropped_message_ids)
    return JSONResponse(reply.model_dump(mode="json"), status_code=201 if is_new else 200)
