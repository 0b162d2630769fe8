"""Errors of /v1 as OpenAI's clients know them: 400 for a request that is wrong, and codes that say how."""

import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.responses import Response

from gpt2svc.api.errors import ApiError, from_domain, from_validation
from gpt2svc.api.schemas.openai_completions import MAX_PROMPTS
from gpt2svc.api.schemas.openai_embeddings import MAX_INPUTS
from gpt2svc.api.schemas.openai_parameters import PASSING, UNSUPPORTED
from gpt2svc.api.schemas.openai_response_request import MAX_INPUT_ITEMS
from gpt2svc.chat.text_input import MAX_CONTENT_LENGTH
from gpt2svc.errors import Gpt2svcError, InvalidInputError, NotFoundError

logger = logging.getLogger(__name__)

# Fields that take several kinds of value: pydantic's findings for each kind together tell a client little.
_UNIONS: Mapping[str, str] = {
    "prompt": f"text, a list of token ids, or a list of at most {MAX_PROMPTS} of either",
    "input": f"text, or a list of at most {MAX_INPUT_ITEMS} messages",
    "content": f"text of at most {MAX_CONTENT_LENGTH} characters without NUL, or a list of parts of text",
}
_EMBEDDING_INPUT = f"text, a list of token ids, or a list of at most {MAX_INPUTS} of either"


class OpenAiRoute(APIRoute):
    """A route whose errors leave in OpenAI's words. What middleware refuses has the same envelope anyway."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                return of_validation(error.errors(), self.path).response()
            except Gpt2svcError as error:
                return of_domain(error).response()

        return answer


def of_domain(error: Gpt2svcError) -> ApiError:
    """What the table of statuses says, but 400 for 422, and settings without the prefix that they have elsewhere."""
    answer = from_domain(error)
    if answer.status == 500:
        logger.error("Request failed: %s", error, exc_info=error)
    param = answer.param.removeprefix("settings.") if answer.param is not None else None
    message = answer.message.replace("settings.", "") if answer.status == 422 else answer.message
    if isinstance(error, NotFoundError) and error.field == "previous_response_id":
        return replace(answer, code="previous_response_not_found")
    if isinstance(error, NotFoundError) and error.kind == "model":
        message = f"The model {error.identifier[:100]!r} does not exist here; GET /v1/models lists those that do."
        return replace(answer, code="model_not_found", message=message, param="model")
    if isinstance(error, InvalidInputError) and error.field == "model":  # a name that no model can have
        return replace(answer, status=404, code="model_not_found", message=message)
    return replace(answer, status=400 if answer.status == 422 else answer.status, message=message, param=param)


def of_stream_failure(error: Exception) -> ApiError:
    """What a stream says last that could not go on; its head has gone out with 200. Logs what nobody foresaw."""
    if isinstance(error, Gpt2svcError):
        return of_domain(error)
    logger.error("A stream failed", exc_info=error)
    return of_domain(Gpt2svcError(str(error)))


def of_validation(errors: Sequence[Mapping[str, Any]], path: str = "") -> ApiError:
    """The most telling of pydantic's findings: a parameter that is not supported, else the first. `path` is the
    route's.
    """
    found = [_Finding.of(error) for error in errors]
    for finding in found:
        name, kind = finding.parameter, finding.error["type"]
        if name in PASSING and kind not in ("string_too_long", "string_type", "extra_forbidden"):
            message = f"{name} is not supported with this value: these models only continue text."
            return ApiError(400, message, "unsupported_value", param=name)
        if len(finding.path) == 1 and kind == "extra_forbidden":
            is_known = name in UNSUPPORTED or name in PASSING
            message = f"{name} is not supported here." if is_known else f"{name} is not a parameter of this request."
            return ApiError(400, message, "unsupported_parameter" if is_known else "unknown_parameter", param=name)
    for finding in found:
        if finding.error["type"] == "none_required":
            message = f"{finding.name} is not supported here: only null."
            return ApiError(400, message, "unsupported_value", param=finding.name)
    within = next((finding for finding in found if finding.is_within_item), None)
    if within is not None:
        return replace(from_validation([within.error]), status=400)
    for finding in found:
        if finding.union is not None:
            hint = _EMBEDDING_INPUT if path.endswith("/embeddings") else _UNIONS[finding.union]
            name = finding.union_name
            return ApiError(400, f"{name} must be {hint}.", InvalidInputError.code, param=name)
    return replace(from_validation(errors), status=400)


@dataclass(frozen=True, slots=True)
class _Finding:
    """One of pydantic's, with the path of its field: names and places in lists."""

    error: Mapping[str, Any]
    path: tuple[str | int, ...]
    union: str | None  # the last field on the path of which this is about one of several kinds of value

    @classmethod
    def of(cls, error: Mapping[str, Any]) -> "_Finding":
        path: list[str | int] = []
        union = None
        is_kind = False  # pydantic's own name of the kind of value comes next, which says nothing to a client
        for part in error["loc"][1:]:
            if is_kind:
                union = str(path[-1])
            else:
                path.append(part)
            is_kind = not is_kind and part in _UNIONS
        cleaned = {**error, "loc": (*error["loc"][:1], *path)}
        return cls(cleaned, tuple(path), union)

    @property
    def parameter(self) -> str:
        return str(self.path[0]) if self.path else ""

    @property
    def name(self) -> str:
        return ".".join(map(str, self.path))

    @property
    def union_name(self) -> str:
        end = max(index for index, part in enumerate(self.path) if part == self.union)
        return ".".join(map(str, self.path[: end + 1]))

    @property
    def is_within_item(self) -> bool:
        """About a field of an object in a list that is one of several kinds of value: the kind that was meant."""
        last = self.path[-1] if self.path else None
        return self.union is not None and isinstance(last, str) and last not in _UNIONS
