"""/api/generations/{id}: look at a reply in the making, watch it, stop it."""

from typing import Annotated

from fastapi import APIRouter, Header, Query
from pydantic import AfterValidator
from starlette.responses import Response

from gpt2svc.api.error_docs import error_responses
from gpt2svc.api.event_stream import STREAM_DOCS, event_stream
from gpt2svc.api.schemas.generations import GenerationOut
from gpt2svc.api.services import OwnerDep, ServicesDep

router = APIRouter(prefix="/api/generations/{generation_id}", tags=["generations"])

MAX_CURSOR = 999_999_999


def _check_event_id(text: str) -> str:
    # An EventSource that has seen no id yet sends none, or an empty one.
    if text and not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise ValueError(f"must be the id of an event: a whole number from 0 to {MAX_CURSOR}")
    return text


@router.get("", summary="Read a generation", responses=error_responses(404, 503))
async def read_generation(services: ServicesDep, owner: OwnerDep, generation_id: str) -> GenerationOut:
    """Its status, settings, seed, usage and timings. Its text is in the message `message_id`."""
    async with services.database.read() as uow:
        record = await uow.generations.get(generation_id, owner)
    return GenerationOut.of(record)


@router.get(
    "/events",
    summary="Watch a generation",
    response_class=Response,
    response_description="The events, up to `done` or `error`.",
    responses={
        200: {"content": {"text/event-stream": STREAM_DOCS}},
        204: {"description": "You have seen it all, `done` included. An EventSource stops here."},
        **error_responses(404, 422, 503),
    },
)
async def watch_generation(
    services: ServicesDep,
    owner: OwnerDep,
    generation_id: str,
    last_event_id: Annotated[
        str,
        AfterValidator(_check_event_id),
        Header(
            alias="Last-Event-ID",
            description="Id of the last event seen; wins over `starting_after`.",
            json_schema_extra={"pattern": "^[0-9]{0,9}$"},
        ),
    ] = "",
    starting_after: Annotated[
        int, Query(ge=0, le=MAX_CURSOR, description="Number of the last token seen; 0 for everything.")
    ] = 0,
) -> Response:
    """Live or afterwards, by any number of viewers, each with its own cursor: what comes after it is sent, and then
    what is new. The text that a viewer puts together is the same however often its stream was cut.
    """
    after = int(last_event_id) if last_event_id else starting_after
    if not await services.generations.has_more(generation_id, owner, after):
        return Response(status_code=204)
    return event_stream(services.generations.events(generation_id, owner, after), services.settings)


@router.post("/cancel", summary="Stop a generation", responses=error_responses(404, 408, 413, 415, 503, 507))
async def cancel_generation(services: ServicesDep, owner: OwnerDep, generation_id: str) -> GenerationOut:
    """What was written stays, as `cancelled`. One that has ended stays as it is. No body is needed."""
    return GenerationOut.of(await services.generations.cancel(generation_id, owner))
