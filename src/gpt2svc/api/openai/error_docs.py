"""How /v1's errors stand on the OpenAPI page: as everywhere, but for the statuses that mean more here."""

from typing import Any

from gpt2svc.api.error_docs import error_responses
from gpt2svc.api.errors import ApiError

_DOCS: dict[int, tuple[str, ApiError]] = {
    400: (
        "The body is not sound JSON, a value is wrong, or a parameter is not supported: `param` names it.",
        ApiError(400, "temperature must be at most 5.", "invalid_input", "temperature"),
    ),
    404: (
        "No model has this name.",
        ApiError(404, "The model 'gpt-9' does not exist here; …", "model_not_found", "model"),
    ),
    422: (
        "A field stands twice in one object, or a number has too many digits.",
        ApiError(422, "model stands twice in one object.", "invalid_input", "model"),
    ),
}


def openai_error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses=`: these, and those that every route gives."""
    responses = error_responses(*statuses, query=400)
    for status in responses.keys() & _DOCS.keys():
        description, example = _DOCS[int(status)]
        responses[status]["description"] = description
        responses[status]["content"] = {"application/json": {"example": example.body()}}
    return responses
