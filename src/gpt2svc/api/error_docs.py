"""How error responses stand on the OpenAPI page: a description and an example for each status that a route gives."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from gpt2svc.api.errors import ApiError
from gpt2svc.api.schemas.errors import ErrorOut

# Every route: the key, the guards against foreign pages, what nobody foresaw; and unknown names in a query.
_EVERYWHERE = (401, 403, 421, 500)
_QUERY = 422
# Every route with a body.
BODY = (400, 408, 413, 415, 422)

_GENERATION = "gen_01j9z3k4m5n6p7q8r9s0t1v2w3"

StatusDocs = Mapping[int, tuple[str, ApiError]]  # what a status means, and an answer that has it

_DOCS: StatusDocs = {
    400: (
        "The body is not sound JSON.",
        ApiError(400, "The body is not valid JSON: Expecting value (line 1, column 13).", "invalid_json"),
    ),
    401: (
        "The service has an API key, and the request does not carry it.",
        ApiError(401, "This service needs an API key: …", "invalid_api_key"),
    ),
    403: (
        "A web page of another origin sent the request, or the API key is for other things (`insufficient_scope`).",
        ApiError(403, "Requests from pages of another origin are refused.", "origin_refused", "Origin"),
    ),
    404: (
        "Nothing has this id.",
        ApiError(404, "No conversation has the id 'conv_…'.", "not_found", "conversation_id"),
    ),
    408: (
        "The body did not arrive in time.",
        ApiError(408, "The body did not arrive within 30 seconds.", "body_timeout"),
    ),
    409: (
        "The conversation already has a reply in progress, which the message names. `x-should-retry: false`.",
        ApiError(409, f"Conversation conv_… already has a reply in progress ({_GENERATION}). …", "conversation_busy"),
    ),
    413: (
        "The body is too large.",
        ApiError(413, "The body has more than 1048576 bytes (setting max_body_bytes).", "body_too_large"),
    ),
    415: (
        "The body is not declared as JSON.",
        ApiError(415, "The body must be JSON in UTF-8, …", "unsupported_media_type", "Content-Type"),
    ),
    421: (
        "The `Host` header names a host that is not this service's.",
        ApiError(421, "This service does not answer to that host name. …", "host_not_allowed", "Host"),
    ),
    422: (
        "A value is wrong: the message names the field and the limit.",
        ApiError(422, "settings.top_p must be at most 1.", "invalid_input", "settings.top_p"),
    ),
    429: (
        "The service has taken on all the work it can; nothing was stored. `Retry-After` says when to come back.",
        ApiError(429, "The service already works on 256 replies, as many as it takes on.", "overloaded"),
    ),
    500: (
        "A fault of the service; its log names the request by `x-request-id`.",
        ApiError(500, "The service failed to answer this request. Its log names it req_….", "internal_error"),
    ),
    503: (
        "Not now: the model is loading or has failed, the service is stopping, or its store can't be used.",
        ApiError(503, "The model is loading (42%).", "model_unavailable"),
    ),
    504: (
        "The time that the request gave (`X-Request-Timeout`) is over.",
        ApiError(504, "The time that the request gave the text (X-Request-Timeout) is over.", "deadline_exceeded"),
    ),
    507: (
        "The disk is full; nothing was stored.",
        ApiError(507, "The disk is full: nothing was stored.", "storage_full"),
    ),
}


def error_responses(
    *statuses: int, query: int = _QUERY, differing: StatusDocs = MappingProxyType({})
) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses=`: these, and those that every route gives.

    `query` is what an unknown query gets; `differing` says what some statuses mean on this route instead.
    """
    docs = {**_DOCS, **differing}
    return {
        status: {
            "model": ErrorOut,
            "description": docs[status][0],
            "content": {"application/json": {"example": docs[status][1].body()}},
        }
        for status in sorted({*statuses, *_EVERYWHERE, query})
    }
