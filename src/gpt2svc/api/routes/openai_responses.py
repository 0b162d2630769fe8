"""/v1/responses, as OpenAI's clients call it: durable replies, streamed or whole, with or without a client."""

from contextlib import closing
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request
from fastapi.openapi.models import Example
from starlette.responses import JSONResponse, Response

from gpt2svc.api.disconnect import unless_disconnected
from gpt2svc.api.error_docs import BODY
from gpt2svc.api.openai.error_docs import openai_error_responses
from gpt2svc.api.openai.errors import OpenAiRoute
from gpt2svc.api.openai.response_object import input_item
from gpt2svc.api.openai.response_request import response_request
from gpt2svc.api.openai.response_stream import STREAM_DOCS, ResponseStream
from gpt2svc.api.openai.whole_response import snapshot, whole_response
from gpt2svc.api.reply_response import IdempotencyKey
from gpt2svc.api.schemas.openai_response_object import InputItemList, InputItemOut, ResponseDeleted, ResponseOut
from gpt2svc.api.schemas.openai_response_request import InputItemQuery, ResponseCreate, ResponseQuery
from gpt2svc.api.services import OwnerDep, Services, ServicesDep
from gpt2svc.errors import InvalidInputError
from gpt2svc.responses.request import ResponseRequest
from gpt2svc.responses.stored import StoredResponse

router = APIRouter(prefix="/v1/responses", tags=["openai"], route_class=OpenAiRoute)

_EXAMPLES = {
    "whole": Example(summary="A question", value={"input": "Hello! Who are you?"}),
    "background": Example(
        summary="In the background, to be read later", value={"input": "Tell me a story.", "background": True}
    ),
    "messages": Example(
        summary="Messages, with instructions, kept nowhere",
        value={
            "instructions": "Be brief.",
            "input": [{"role": "user", "content": "Hello! Who are you?"}],
            "max_output_tokens": 20,
            "store": False,
        },
    ),
}
_STREAM: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": STREAM_DOCS}}}
# What can be done next with the id that the answer has.
_LINKS = {
    name: {
        "operationId": f"{name}_v1_responses__response_id__{rest}",
        "parameters": {"response_id": "$response.body#/id"},
    }
    for name, rest in (
        ("read_response", "get"),
        ("delete_response", "delete"),
        ("cancel_response", "cancel_post"),
        ("list_input_items", "input_items_get"),
    )
}


@router.post(
    "",
    summary="Create a response",
    response_model=ResponseOut,
    response_description="The response as JSON; with `stream`, its events.",
    responses={200: {**_STREAM[200], "links": _LINKS}, **openai_error_responses(*BODY, 404, 429, 503, 504, 507)},
)
async def create_response(
    services: ServicesDep,
    owner: OwnerDep,
    request: Request,
    body: Annotated[ResponseCreate, Body(openapi_examples=_EXAMPLES)],
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """A reply that is stored unless `store` is false. With `background` the answer comes at once; otherwise a client
    that leaves cancels the reply, unless it sent an `Idempotency-Key`: then it may come back with the same request.
    Look at the `status`: a reply that `failed` is stored and answered like any other. What is not supported is
    refused by name.
    """
    body.check()
    asked = response_request(body, owner, idempotency_key, services.database.ids)
    if not body.is_stored:
        return await _unstored(services, request, asked, is_stream=bool(body.stream))
    if not body.stream and not body.background:
        return await unless_disconnected(request, _whole(services, asked))
    stored = await services.responses.begin(asked)
    if not body.stream:
        return _marked(JSONResponse(snapshot(stored)), stored)
    events = services.responses.events(stored)
    stream = ResponseStream(stored.head, events, services.settings, on_end=lambda: _leave(services, asked, stored))
    return _marked(stream, stored)


@router.get(
    "/{response_id}",
    summary="Read a response",
    response_model=ResponseOut,
    response_description="As far as it is written; with `stream`, its events.",
    responses={**_STREAM, **openai_error_responses(400, 404, 503)},
)
async def read_response(
    services: ServicesDep, owner: OwnerDep, response_id: str, query: Annotated[ResponseQuery, Query()]
) -> Response:
    """Any stored one, in progress or not, by any number of readers, who may leave and come back. With `stream` and
    `starting_after` a reader gets the rest with the numbers that it had, also after a restart of the service.
    """
    query.check()
    stored = await services.responses.get(response_id, owner)
    if not query.stream:
        return JSONResponse(snapshot(stored))
    if query.starting_after is not None:
        services.metrics.resumes.inc()
    events = services.responses.events(stored)
    return ResponseStream(stored.head, events, services.settings, after=query.starting_after)


@router.delete("/{response_id}", summary="Delete a response", responses=openai_error_responses(404, 503, 507))
async def delete_response(services: ServicesDep, owner: OwnerDep, response_id: str) -> ResponseDeleted:
    """With its reply, which is cancelled first where it is in progress. Responses that follow it stay, but none can be
    added to their chain.
    """
    await services.responses.delete(response_id, owner)
    return ResponseDeleted(id=response_id)


@router.post(
    "/{response_id}/cancel",
    summary="Cancel a response",
    responses=openai_error_responses(404, 408, 413, 415, 503, 507),
)
async def cancel_response(services: ServicesDep, owner: OwnerDep, response_id: str) -> ResponseOut:
    """Any that is in progress; what was written stays. One that has ended stays as it is. No body is needed."""
    return ResponseOut.model_validate(snapshot(await services.responses.cancel(response_id, owner)))


@router.get(
    "/{response_id}/input_items",
    summary="List a response's input",
    responses=openai_error_responses(400, 404, 503),
)
async def list_input_items(
    services: ServicesDep, owner: OwnerDep, response_id: str, query: Annotated[InputItemQuery, Query()]
) -> InputItemList:
    """Its own messages, as they were sent; those of the responses before it are in theirs."""
    items = list((await services.responses.get(response_id, owner)).response.input)
    if query.order == "desc":
        items.reverse()
    start = 0
    if query.after is not None:
        ids = [item.id for item in items]
        if query.after not in ids:
            raise InvalidInputError("after must be the id of one of this response's input items.", field="after")
        start = ids.index(query.after) + 1
    page = items[start : start + query.limit]
    return InputItemList(
        data=[InputItemOut.model_validate(input_item(item)) for item in page],
        has_more=start + query.limit < len(items),
        first_id=page[0].id if page else None,
        last_id=page[-1].id if page else None,
    )


async def _whole(services: Services, asked: ResponseRequest) -> Response:
    stored = await services.responses.begin(asked)
    try:
        return _marked(JSONResponse(await whole_response(stored.head, services.responses.events(stored))), stored)
    finally:
        _leave(services, asked, stored)


def _leave(services: Services, asked: ResponseRequest, stored: StoredResponse) -> None:
    """The client that asked has its answer or is gone; in the second case the reply ends, unless it may come back."""
    if not asked.is_detached and not stored.is_replayed:
        services.responses.abandon(stored)


async def _unstored(services: Services, request: Request, asked: ResponseRequest, *, is_stream: bool) -> Response:
    if is_stream:
        response = await services.responses.begin_unstored(asked)
        return ResponseStream(response.head, response.events(), services.settings, on_end=response.close)

    async def whole() -> Response:
        response = await services.responses.begin_unstored(asked)
        with closing(response):
            return JSONResponse(await whole_response(response.head, response.events(is_raising=True)))

    return await unless_disconnected(request, whole())


def _marked(response: Response, stored: StoredResponse) -> Response:
    if stored.is_replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response
