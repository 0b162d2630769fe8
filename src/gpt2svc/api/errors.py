"""Errors as HTTP: the one table of statuses and the one envelope, `{"error": {"message", "type", "param", "code"}}`.

Nothing here repeats input back at length: a message names the field and the limit, and any text taken from a request
is made printable and cut first, since it may hold lone surrogates, control characters or megabytes.
"""

import json
import logging
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from gpt2svc.api.openapi import documented_methods
from gpt2svc.errors import (
    ConversationBusyError,
    DeadlineExceededError,
    Gpt2svcError,
    InvalidInputError,
    ModelDownloadError,
    ModelError,
    NotFoundError,
    OverloadedError,
    StorageError,
    StorageFullError,
    UnavailableError,
)

logger = logging.getLogger(__name__)

# NOTE: the first class that matches decides, so a subclass stands before its base. Load is answered with 429, never
# with 503: load balancers take a server that answers 503 out of service.
STATUSES: tuple[tuple[type[Gpt2svcError], int], ...] = (
    (InvalidInputError, 422),
    (NotFoundError, 404),
    (ConversationBusyError, 409),
    (OverloadedError, 429),
    (UnavailableError, 503),
    (DeadlineExceededError, 504),
    (ModelDownloadError, 503),
    (ModelError, 422),
    (StorageFullError, 507),
    (StorageError, 503),
    (Gpt2svcError, 500),
)

# `type` says which kind of thing went wrong, `code` which thing. Clients switch on these; they never change.
_TYPES: Mapping[int, str] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    429: "rate_limit_error",
    503: "unavailable_error",
    504: "timeout_error",
}
_CODES: Mapping[int, str] = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "unsupported_media_type",
}

_RETRY_SPREAD = 0.1
_MAX_TEXT = 400  # characters of a message
_MAX_NAME = 100  # characters of a parameter's name


@dataclass(frozen=True, slots=True)
class ApiError:
    """What an error response says, before it is one."""

    status: int
    message: str
    code: str
    param: str | None = None
    retry_after_s: float | None = None
    headers: Mapping[str, str] | None = None

    @property
    def type(self) -> str:
        return _TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")

    def body(self) -> dict[str, dict[str, str | None]]:
        return {
            "error": {
                "message": printable(self.message, _MAX_TEXT),
                "type": self.type,
                "param": printable(self.param, _MAX_NAME) if self.param is not None else None,
                "code": self.code,
            }
        }

    def response(self) -> Response:
        headers = dict(self.headers or {})
        if self.retry_after_s is not None:
            headers.update(retry_headers(self.retry_after_s, is_for_load=self.status == 429))
        if self.status in (409, 504):
            headers["x-should-retry"] = "false"  # OpenAI's clients repeat these at once, which would only busy us
        # ASCII only: whatever a message holds, it can be encoded.
        return Response(json.dumps(self.body()), self.status, headers, media_type="application/json")


def retry_headers(retry_after_s: float, *, is_for_load: bool) -> dict[str, str]:
    """When to come back, in seconds, rounded up, and in milliseconds."""
    # Spread under load: clients that were refused together must not all come back together.
    spread = random.uniform(0.0, _RETRY_SPREAD) if is_for_load else 0.0  # noqa: S311 (no secret)
    milliseconds = math.ceil(1000 * retry_after_s * (1.0 + spread))
    return {"retry-after": str(max(1, -(-milliseconds // 1000))), "retry-after-ms": str(milliseconds)}


def from_domain(error: Gpt2svcError) -> ApiError:
    status = next(status for kind, status in STATUSES if isinstance(error, kind))
    is_ours = status == 500  # the message of an unexpected state is for the log, not for the caller
    return ApiError(
        status=status,
        message="The service failed to answer this request. Its log has the details." if is_ours else error.message,
        code=error.code,
        param=error.field,
        retry_after_s=error.retry_after_s if isinstance(error, OverloadedError | UnavailableError) else None,
    )


def from_http(error: HTTPException) -> ApiError:
    """Starlette's own: unknown paths and methods, unreadable bodies."""
    detail = error.detail if isinstance(error.detail, str) else HTTPStatus(error.status_code).phrase
    if detail == HTTPStatus(error.status_code).phrase:
        detail = {404: "There is nothing at this path.", 405: "This path does not take that method."}.get(
            error.status_code, detail
        )
    code = _CODES.get(error.status_code, "http_error")
    return ApiError(error.status_code, detail, code, headers=error.headers)


def from_validation(errors: Sequence[Mapping[str, Any]]) -> ApiError:
    """The first of pydantic's findings, in words that name the field and its limit; the others follow its fixing."""
    if not errors:
        return ApiError(422, "The request is not valid.", InvalidInputError.code)
    error = errors[0]
    where, *path = error["loc"] or ("body",)
    if path and path[-1] == "[key]":  # pydantic's mark of a mapping's key, which stands before it
        del path[-2:]
    name = ".".join(str(part) for part in path)
    shown = printable(name, _MAX_NAME) or f"The {where}"
    rest = f" ({len(errors) - 1} more of its fields are wrong too.)" if len(errors) > 1 else ""
    return ApiError(422, f"{_reason(shown, error)}{rest}", InvalidInputError.code, param=name or None)


def _reason(name: str, error: Mapping[str, Any]) -> str:
    """Why a value was refused. `ctx` holds limits from our schemas; only "input" and "msg" may hold what was sent."""
    ctx: Mapping[str, Any] = error.get("ctx") or {}
    match error["type"]:
        case "missing":
            return f"{name} is required."
        case "extra_forbidden":
            return f"{name} is not a field of this request."
        case "greater_than_equal":
            return f"{name} must be at least {ctx['ge']:g}."
        case "less_than_equal":
            return f"{name} must be at most {_number(ctx['le'])}."
        case "string_too_long":
            return f"{name} must have at most {ctx['max_length']} characters."
        case "string_too_short":
            return f"{name} must have at least {ctx['min_length']} characters."
        case "too_short":
            return f"{name} must not be empty."
        case "too_long":
            unit = "characters" if isinstance(error["input"], str) else "entries"
            return f"{name} must have at most {ctx['max_length']} {unit}."
        case "finite_number":
            return f"{name} must be a finite number."
        case "string_unicode":
            return f"{name} must not hold a lone surrogate."
        case "value_error":
            return f"{name} {ctx['error']}."
        case "string_pattern_mismatch" if error["loc"][-1] == "[key]":
            return f"{name} has a key that is no token id."
        case "literal_error" if isinstance(ctx.get("expected"), str):
            return f"{name} must be {ctx['expected'].replace('False', 'false').replace('True', 'true')}."
        case "string_type":
            return f"{name} must be a string."
        case "bool_type" | "bool_parsing":
            return f"{name} must be true or false."
        case "int_type" | "int_from_float" | "int_parsing" | "int_parsing_size":
            return f"{name} must be a whole number."
        case "float_type" | "float_parsing":
            return f"{name} must be a number."
        case "list_type":
            return f"{name} must be a list."
        case "dict_type" | "model_type" | "model_attributes_type":
            return f"{name} must be an object."
    return f"{name} is not valid."


def _number(value: object) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


def printable(text: str, max_length: int) -> str:
    """`text` without control characters and lone surrogates, and cut."""
    cut = text if len(text) <= max_length else text[: max_length - 1] + "…"
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in cut)


def install_error_handlers(app: FastAPI) -> None:
    """Every error that a route raises leaves in the envelope; what is unexpected is the request log's to answer."""

    async def on_domain(_: Request, error: Exception) -> Response:
        answer = from_domain(cast(Gpt2svcError, error))
        if answer.status in (500, 507) or isinstance(error, StorageError):
            logger.error("Request failed: %s", error, exc_info=error)
        return answer.response()

    async def on_validation(_: Request, error: Exception) -> Response:
        return from_validation(cast(RequestValidationError, error).errors()).response()

    async def on_http(request: Request, error: Exception) -> Response:
        response = from_http(cast(HTTPException, error)).response()
        if response.status_code == 405:  # Starlette names only the methods of the first route that has this path
            first = response.headers.get("Allow", "").split(", ")
            methods = {*documented_methods(app, request.scope["path"]), *first} - {""}
            response.headers["Allow"] = ", ".join(sorted(methods))
        return response

    app.add_exception_handler(Gpt2svcError, on_domain)
    app.add_exception_handler(RequestValidationError, on_validation)
    app.add_exception_handler(HTTPException, on_http)
