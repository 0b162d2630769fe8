"""/api/export and /api/import: conversations as a file, and back."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from gpt2svc.api.error_docs import BODY, StatusDocs, error_responses
from gpt2svc.api.errors import ApiError
from gpt2svc.api.schemas.transfer import ExportQuery, ImportOut, ImportQuery
from gpt2svc.api.services import OwnerDep, ServicesDep
from gpt2svc.chat.transfer.json_form import FORMAT, VERSION

IMPORT_PATH = "/api/import"

router = APIRouter(prefix="/api", tags=["conversations"])

_MEDIA_TYPES = {"json": "application/json", "txt": "text/plain; charset=utf-8"}
_TEXT_EXAMPLE = """\
# gpt2svc conversations 1

=== Trains to Lviv
--- User
When does the first train leave?

--- Assistant
At six.

"""


def _file(*messages: dict[str, Any], title: str) -> dict[str, Any]:
    return {"format": FORMAT, "version": VERSION, "conversations": [{"title": title, "messages": list(messages)}]}


_IMPORT_BODY = {
    "required": True,
    "description": "A file of `GET /api/export`, JSON or text: its content says which.",
    "content": {
        "application/json": {
            "schema": {"type": "object"},
            "examples": {
                "english": {
                    "summary": "A short talk",
                    "value": _file(
                        {"id": "1", "role": "user", "content": "Hello!"},
                        {"id": "2", "parent_id": "1", "role": "assistant", "content": "Hello, how are you?"},
                        title="A short talk",
                    ),
                },
                "ukrainian": {
                    "summary": "In Ukrainian",
                    "value": _file({"id": "1", "role": "user", "content": "Привіт!"}, title="Привітання"),
                },
            },
        },
        "text/plain": {"schema": {"type": "string"}, "example": _TEXT_EXAMPLE},
    },
}
_IMPORT_ERRORS: StatusDocs = {
    429: (
        "Another import is running; nothing was imported. `Retry-After` says when to come back.",
        ApiError(429, "Another import is running.", "overloaded"),
    )
}


@router.get(
    "/export",
    summary="Export conversations",
    response_class=Response,
    response_description="The file.",
    responses={
        200: {
            "content": {
                "application/json": {"schema": {"type": "object"}},
                "text/plain": {"schema": {"type": "string"}, "example": _TEXT_EXAMPLE},
            }
        },
        **error_responses(404, 422, 503),
    },
)
async def export_conversations(
    services: ServicesDep, owner: OwnerDep, query: Annotated[ExportQuery, Query()]
) -> Response:
    """One conversation or all of them, as a file that is written while it is read.

    JSON holds everything: the whole tree of messages with their settings, seeds, models, usage and times. Text is for
    reading and for editors: titles, roles and what was said on the path to the newest message; a message's line that
    begins with `===`, `---` or a backslash has a backslash before it. Both can be imported.
    """
    ids = await services.exports.prepare(owner, query.conversation_id)
    name = query.conversation_id if query.conversation_id is not None else "conversations"
    return StreamingResponse(
        _encoded(services.exports.chunks(owner, ids, query.format)),
        media_type=_MEDIA_TYPES[query.format],
        headers={"Content-Disposition": f'attachment; filename="gpt2svc-{name}.{query.format}"'},
    )


async def _encoded(chunks: AsyncIterator[str]) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        yield chunk.encode()


@router.post(
    "/import",
    summary="Import conversations",
    response_description="What became of each conversation of the file.",
    responses=error_responses(*BODY, 429, 503, 507, differing=_IMPORT_ERRORS),
    openapi_extra={"requestBody": _IMPORT_BODY},
)
async def import_conversations(
    services: ServicesDep, owner: OwnerDep, request: Request, query: Annotated[ImportQuery, Query()]
) -> ImportOut:
    """Each conversation by itself: `imported`, `duplicate` (the same messages are there already) or `invalid`, with the
    reason; an invalid one does not hold up the others. Nothing that is there is changed. Ids are kept where they are
    free. A file that can't be read as a whole changes nothing.
    """
    results = await services.imports.run(owner, await request.body(), dry_run=query.dry_run)
    return ImportOut.of(results, dry_run=query.dry_run)
