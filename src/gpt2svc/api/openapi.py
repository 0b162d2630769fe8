"""The OpenAPI description: FastAPI's, with what it can't know by itself."""

import re
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gpt2svc.api.openapi_limits import describe_limits
from gpt2svc.api.schemas.events import EVENT_SCHEMAS
from gpt2svc.api.schemas.openai_chat import ChatCompletionChunk
from gpt2svc.api.schemas.openai_response_object import ResponseStreamEvent
from gpt2svc.generation.settings import MAX_SEED

DESCRIPTION = """\
Conversations with GPT-2 models. Create a conversation, post a message, and the reply streams back token by token over
server-sent events, or comes whole as JSON. Conversations, settings and replies are stored; a reply is written to its
end whether anybody watches or not, and a stream that was cut goes on where it stopped.

**First steps**

    curl -s -X POST -H 'Content-Type: application/json' -d '{}' http://127.0.0.1:8000/api/conversations
    curl -N -H 'Accept: text/event-stream' -H 'Content-Type: application/json' \\
         -d '{"content": "Hello! Who are you?"}' http://127.0.0.1:8000/api/conversations/{id}/messages

**Events of a reply**

| event | id | data |
| --- | --- | --- |
| `queued` | none | `QueuedEvent`: the ids, and how many replies wait before it |
| `started` | none | `StartedEvent`: prompt tokens, seed, settings, messages that did not fit |
| `token` | 1, 2, 3, … | `TokenEvent`: a piece of text; all of them joined are the reply |
| `done` | last + 1 | `DoneEvent`: completed or cancelled; usage and timings |
| `error` | last + 1 | `ErrorEvent`: interrupted or failed; why, and how many tokens are kept |

After a lost connection ask `GET /api/generations/{id}/events` with the last id you saw, as the header `Last-Event-ID`
or as `?starting_after=`. Lines that begin with a colon are comments that keep the connection open.

**Errors** all have one form: `{"error": {"message", "type", "param", "code"}}`. Every response carries
`x-request-id`, which the service's log names too. After 429 and 503 wait as long as `Retry-After` says.
"""

TAGS = [
    {"name": "conversations", "description": "Each has a title, a model and sampling settings of its own."},
    {"name": "messages", "description": "Say something, get a reply, read what was said."},
    {"name": "generations", "description": "A reply in the making or made: watch it, take it up again, stop it."},
    {"name": "openai", "description": "What OpenAI's clients call; stateless, but for responses."},
    {"name": "scoring", "description": "What the model itself thinks: what may come next, how likely a text is."},
    {"name": "tasks", "description": "Labels of texts, and which of several goes on best."},
    {"name": "models", "description": "What is loaded, and how far."},
    {"name": "health", "description": "For probes and for people."},
]


def describe(app: FastAPI) -> dict[str, Any]:
    """The whole document; made once for an app, whose routes don't change."""
    if app.openapi_schema is None:
        app.openapi_schema = _build(app)
    return app.openapi_schema


def documented_methods(app: FastAPI, path: str) -> list[str]:
    """Every method that a path takes, e.g. ["GET", "PATCH"]; empty for what the document does not know."""
    for template, item in describe(app)["paths"].items():
        if re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template)), path):
            return sorted(method.upper() for method in item)
    return []


def _build(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title="gpt2svc",
        version=app.version,
        description=DESCRIPTION,
        tags=TAGS,
        routes=app.routes,
        license_info={"name": "MIT", "identifier": "MIT"},
    )
    _drop_invented_errors(document)
    _restore_whole_limits(document)
    describe_limits(document)
    components = document["components"]
    schemas: list[type[BaseModel]] = [*EVENT_SCHEMAS, ChatCompletionChunk, ResponseStreamEvent]
    _, events = models_json_schema(
        [(schema, "serialization") for schema in schemas],
        ref_template="#/components/schemas/{model}",
    )
    components["schemas"] = {**events["$defs"], **components["schemas"]}
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "The service's API key, where it has one."},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    document["security"] = [{}, {"bearer": []}, {"header": []}]
    return document


def _drop_invented_errors(document: dict[str, Any]) -> None:
    """FastAPI puts its own 422 on every route with a path parameter; here an id of any form is simply not found."""
    for item in document["paths"].values():
        for operation in item.values():
            content = operation["responses"].get("422", {}).get("content", {})
            if "HTTPValidationError" in content.get("application/json", {}).get("schema", {}).get("$ref", ""):
                del operation["responses"]["422"]
    for name in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(name, None)


_LIMITS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


def _restore_whole_limits(schema: Any) -> None:
    """FastAPI makes each limit a float, in which the largest seed becomes one more, and 100 becomes 100.0."""
    if isinstance(schema, list):
        for each in schema:
            _restore_whole_limits(each)
    elif isinstance(schema, dict):
        if schema.get("type") == "integer":
            schema |= {name: min(int(schema[name]), MAX_SEED) for name in _LIMITS if name in schema}
        for each in schema.values():
            _restore_whole_limits(each)
