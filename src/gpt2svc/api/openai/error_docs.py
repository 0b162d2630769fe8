"""How /v1's errors stand on the OpenAPI page: as everywhere, but for the statuses that mean something else here."""

from typing import Any

from gpt2svc.api.error_docs import StatusDocs, error_responses
from gpt2svc.api.errors import ApiError

_DOCS: StatusDocs = {
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
    return error_responses(*statuses, query=400, differing=_DOCS)
