"""…/messages/{id}/regenerate, /continue and /edit: other versions of a reply, each a branch beside it."""

from typing import Annotated

from fastapi import APIRouter, Body, Header
from fastapi.openapi.models import Example
from starlette.responses import Response

from gpt2svc.api.error_docs import BODY, error_responses
from gpt2svc.api.reply_response import REPLY_ROUTE, IdempotencyKey, reply_response
from gpt2svc.api.schemas.messages import MessageEdit, MessageOut, ReplyAgain, ReplyOn
from gpt2svc.api.schemas.settings import given_settings
from gpt2svc.api.services import OwnerDep, ServicesDep

router = APIRouter(prefix="/api/conversations/{conversation_id}/messages/{message_id}", tags=["messages"])

_AGAIN_EXAMPLES = {
    "plain": Example(summary="Another one", value={}),
    "bolder": Example(summary="Bolder, streamed", value={"settings": {"temperature": 1.1}, "stream": True}),
}
_ON_EXAMPLES = {
    "plain": Example(summary="On to its end", value={}),
    "more": Example(summary="At most 40 tokens more", value={"settings": {"max_new_tokens": 40}, "stream": False}),
    "branch": Example(summary="After two tokens, by another", value={"num_reply_tokens": 2, "next_token_id": 262}),
}
_EDIT_EXAMPLES = {
    "english": Example(summary="In English", value={"content": "I am a small language model."}),
    "ukrainian": Example(summary="In Ukrainian", value={"content": "Я невелика мовна модель."}),
}


@router.post("/regenerate", summary="Get another reply", **REPLY_ROUTE)
async def regenerate_reply(
    services: ServicesDep,
    owner: OwnerDep,
    conversation_id: str,
    message_id: str,
    body: Annotated[ReplyAgain | None, Body(openapi_examples=_AGAIN_EXAMPLES)] = None,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Beside those that the user's message has; `message_id` names it, or one of its replies. The answer, the events
    and the rules are those of a new message. No body is needed.
    """
    given = body or ReplyAgain()
    turn = await services.turns.regenerate(
        conversation_id,
        owner,
        message_id,
        settings=given_settings(given.settings),
        idempotency_key=idempotency_key,
    )
    return await reply_response(services, owner, turn, stream=given.stream, accept=accept)


@router.post("/continue", summary="Go on with a reply", **REPLY_ROUTE)
async def continue_reply(
    services: ServicesDep,
    owner: OwnerDep,
    conversation_id: str,
    message_id: str,
    body: Annotated[ReplyOn | None, Body(openapi_examples=_ON_EXAMPLES)] = None,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """A new reply beside it, which begins with its text: the `queued` event has that as `prefix_text`, the `token`
    events bring what is new, and the stored message is the whole.

    A reply that was cut (`interrupted`, `cancelled`) goes on exactly as it would have, up to the length it was to have;
    one that ended at its length gets as much again. With `settings` of its own it goes on by those. No body is needed.

    With `num_reply_tokens` and `next_token_id` it goes on from an earlier place, and by another token there:
    `GET …/tokens` lists the reply's own.
    """
    given = body or ReplyOn()
    turn = await services.turns.continue_reply(
        conversation_id,
        owner,
        message_id,
        cut=given.cut,
        settings=given_settings(given.settings),
        idempotency_key=idempotency_key,
    )
    return await reply_response(services, owner, turn, stream=given.stream, accept=accept)


@router.post(
    "/edit",
    status_code=201,
    summary="Put a reply in your own words",
    response_description="The new message.",
    responses={
        200: {"model": MessageOut, "description": "What this Idempotency-Key brought before."},
        **error_responses(*BODY, 404, 409, 503, 507),
    },
)
async def edit_reply(
    services: ServicesDep,
    owner: OwnerDep,
    response: Response,
    conversation_id: str,
    message_id: str,
    body: Annotated[MessageEdit, Body(openapi_examples=_EDIT_EXAMPLES)],
    idempotency_key: IdempotencyKey = None,
) -> MessageOut:
    """A new assistant's message beside it, complete as it is; nothing is generated, and the old one stays.

    To put a user's message in other words, post the new one with the `parent_id` of the old one.
    """
    edited = await services.edits.edit(
        conversation_id, owner, message_id, body.content, idempotency_key=idempotency_key
    )
    if edited.replayed:
        response.status_code = 200
        response.headers["Idempotent-Replayed"] = "true"
    return MessageOut.of(edited.message)
