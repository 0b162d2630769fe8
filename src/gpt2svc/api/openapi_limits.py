"""What every generation route takes and tells beyond its own: its deadline, and how much may still be asked for."""

from collections.abc import Container
from typing import Any

# Where 429 means something else than load: imports come one at a time, and are read to their end.
_ONE_AT_A_TIME = frozenset({"/api/import"})

TIMEOUT_HEADER = "X-Request-Timeout"
MAX_TIMEOUT_S = 86_400.0

_TIMEOUT = {
    "name": TIMEOUT_HEADER,
    "in": "header",
    "required": False,
    "description": "Seconds that the client waits at most. A reply whose turn has not come by then is not begun; one "
    "that is being written ends there, and what there is of it is kept. Code: `deadline_exceeded`.",
    "schema": {"type": "number", "exclusiveMinimum": 0, "maximum": MAX_TIMEOUT_S},
}
_INTEGER = {"type": "integer", "minimum": 0}
_DURATION = {"type": "string", "pattern": r"^[0-9]+\.[0-9]{3}s$"}
LIMIT_HEADERS: dict[str, dict[str, Any]] = {
    "x-ratelimit-limit-requests": {"description": "Replies that may be in progress at a time.", "schema": _INTEGER},
    "x-ratelimit-remaining-requests": {"description": "Of those, how many are free now.", "schema": _INTEGER},
    "x-ratelimit-reset-requests": {"description": "Until what is in progress is through.", "schema": _DURATION},
    "x-ratelimit-limit-tokens": {"description": "Tokens that they may need together.", "schema": _INTEGER},
    "x-ratelimit-remaining-tokens": {"description": "Of those, how many are free now.", "schema": _INTEGER},
    "x-ratelimit-reset-tokens": {"description": "Until what is in progress is through.", "schema": _DURATION},
}
_RETRY_HEADERS: dict[str, dict[str, Any]] = {
    "retry-after": {"description": "Seconds to wait, rounded up.", "schema": _INTEGER},
    "retry-after-ms": {"description": "The same in milliseconds.", "schema": _INTEGER},
}


def is_admitted(path: str, documented_statuses: Container[int | str]) -> bool:
    """Whether admission may refuse what a route is asked for; such work has a deadline, if its client says one."""
    is_refusable = 429 in documented_statuses or "429" in documented_statuses
    return is_refusable and path not in _ONE_AT_A_TIME


def describe_limits(document: dict[str, Any]) -> None:
    """Adds the header parameter and the headers of answers to each operation that can be refused for load."""
    for path, item in document["paths"].items():
        for operation in item.values():
            responses = operation["responses"]
            if "429" in responses:
                responses["429"].setdefault("headers", {}).update(_RETRY_HEADERS)
            if is_admitted(path, responses):
                operation.setdefault("parameters", []).append(_TIMEOUT)
                for response in responses.values():
                    response.setdefault("headers", {}).update(LIMIT_HEADERS)
