"""/api/conversations/{id}/messages: say something and get the reply, streamed or whole; read what was said."""

from typing import Annotated

from fastapi import APIRouter, Body, Header, Query
from fastapi.openapi.models import Example
from starlette.responses import Response

from gpt2svc.api.error_docs import error_responses
from gpt2svc.api.reply_response import REPLY_ROUTE, IdempotencyKey, reply_response
from gpt2svc.api.schemas.lists import ListOut, MessageQuery
from gpt2svc.api.schemas.messages import MessageCreate, MessageOut
from gpt2svc.api.schemas.settings import given_settings
from gpt2svc.api.services import OwnerDep, ServicesDep

router = APIRouter(prefix="/api/conversations/{conversation_id}/messages", tags=["messages"])

_EXAMPLES = {
    "whole": Example(summary="A question", value={"content": "Hello! Who are you?"}),
    "stream": Example(summary="Streamed, in Ukrainian", value={"content": "Привіт! Хто ти?", "stream": True}),
    "exact": Example(
        summary="Repeatable, short, with log-probabilities",
        value={"content": "Hi", "settings": {"seed": 42, "max_new_tokens": 20, "stop": ["\n"], "logprobs": 3}},
    ),
}

_POST_DESCRIPTION = """\
Stores the message and begins the reply, which is then written whether anybody watches or not.

With `Accept: text/event-stream` or `"stream": true` the answer is a stream of server-sent events: `queued`, `started`,
one `token` for each token, and `done` or `error`. The `token` texts, joined, are the stored reply. A connection that
was lost is taken up again at `GET /api/generations/{id}/events`.

    curl -N -H 'Accept: text/event-stream' -H 'Content-Type: application/json' \\
         -d '{"content": "Hello! Who are you?"}' http://127.0.0.1:8000/api/conversations/{id}/messages

Otherwise the answer is the assistant's message once it is whole. Look at its `status`: a reply that was `cancelled`,
`interrupted` or `failed` is stored and answered like any other.
"""


@router.post("", summary="Say something, get a reply", description=_POST_DESCRIPTION, **REPLY_ROUTE)
async def post_message(
    services: ServicesDep,
    owner: OwnerDep,
    conversation_id: str,
    body: Annotated[MessageCreate, Body(openapi_examples=_EXAMPLES)],
    accept: Annotated[str, Header(include_in_schema=False)] = "",
    idempotency_key: IdempotencyKey = None,
) -> Response:
    turn = await services.turns.post(
        conversation_id,
        owner,
        body.content,
        settings=given_settings(body.settings),
        parent_id=body.parent,
        idempotency_key=idempotency_key,
    )
    return await reply_response(services, owner, turn, stream=body.stream, accept=accept)


@router.get("", summary="List messages", responses=error_responses(404, 422, 503))
async def list_messages(
    services: ServicesDep, owner: OwnerDep, conversation_id: str, query: Annotated[MessageQuery, Query()]
) -> ListOut[MessageOut]:
    """Oldest first, with a reply that is still being written as far as it is stored."""
    page = await services.conversations.messages(conversation_id, owner, limit=query.limit, cursor=query.cursor)
    return ListOut(
        data=[MessageOut.of(record) for record in page.items],
        has_more=page.next_cursor is not None,
        next_cursor=page.next_cursor,
    )
