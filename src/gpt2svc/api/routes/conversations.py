"""/api/conversations: create, list, read, change, delete."""

from typing import Annotated

from fastapi import APIRouter, Body, Query, Response
from fastapi.openapi.models import Example

from gpt2svc.api.error_docs import BODY, error_responses
from gpt2svc.api.schemas.conversations import ConversationCreate, ConversationOut, ConversationUpdate
from gpt2svc.api.schemas.lists import ConversationQuery, ListOut
from gpt2svc.api.schemas.settings import given_settings
from gpt2svc.api.services import OwnerDep, ServicesDep

router = APIRouter(prefix="/api/conversations", tags=["conversations"])

_CREATE_EXAMPLES = {
    "empty": Example(summary="All defaults", value={}),
    "careful": Example(
        summary="A title and settings of its own",
        value={"title": "Trains", "settings": {"temperature": 0.4, "max_new_tokens": 60}},
    ),
}
_UPDATE_EXAMPLES = {
    "title": Example(summary="Another title", value={"title": "Потяги до Львова"}),
    "settings": Example(
        summary="One setting changed, one put back to its default", value={"settings": {"top_k": 20, "seed": None}}
    ),
}


@router.post(
    "",
    status_code=201,
    summary="Create a conversation",
    responses=error_responses(*BODY, 404, 503, 507),
)
async def create_conversation(
    services: ServicesDep,
    owner: OwnerDep,
    response: Response,
    body: Annotated[ConversationCreate, Body(openapi_examples=_CREATE_EXAMPLES)],
) -> ConversationOut:
    """Nothing is required: `{}` makes a conversation with the default model and settings."""
    settings = given_settings(body.settings)
    record = await services.conversations.create(owner, title=body.title, model=body.model, settings=settings)
    response.headers["Location"] = f"/api/conversations/{record.id}"
    return ConversationOut.of(record)


@router.get("", summary="List conversations", responses=error_responses(422, 503))
async def list_conversations(
    services: ServicesDep, owner: OwnerDep, query: Annotated[ConversationQuery, Query()]
) -> ListOut[ConversationOut]:
    """The latest active one first. `search` looks into titles and messages."""
    page = await services.conversations.list(owner, limit=query.limit, cursor=query.cursor, query=query.search)
    return ListOut(
        data=[ConversationOut.of(record) for record in page.items],
        has_more=page.next_cursor is not None,
        next_cursor=page.next_cursor,
    )


@router.get("/{conversation_id}", summary="Read a conversation", responses=error_responses(404, 503))
async def read_conversation(services: ServicesDep, owner: OwnerDep, conversation_id: str) -> ConversationOut:
    """Its title, model and settings; its messages have a list of their own."""
    return ConversationOut.of(await services.conversations.get(conversation_id, owner))


@router.patch("/{conversation_id}", summary="Change a conversation", responses=error_responses(*BODY, 404, 503, 507))
async def update_conversation(
    services: ServicesDep,
    owner: OwnerDep,
    conversation_id: str,
    body: Annotated[ConversationUpdate, Body(openapi_examples=_UPDATE_EXAMPLES)],
) -> ConversationOut:
    """Title, model and settings, also while a reply is being written: the next one uses them."""
    return ConversationOut.of(await services.conversations.update(conversation_id, owner, body.changes()))


@router.delete(
    "/{conversation_id}",
    status_code=204,
    summary="Delete a conversation",
    responses=error_responses(404, 503, 507),
)
async def delete_conversation(services: ServicesDep, owner: OwnerDep, conversation_id: str) -> None:
    """With all its messages. A reply in progress is cancelled first."""
    await services.conversations.delete(conversation_id, owner)
