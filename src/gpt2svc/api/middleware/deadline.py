"""`X-Request-Timeout`: how many seconds the client is willing to wait, from now."""

import time

from starlette.types import ASGIApp, Receive, Scope, Send

from gpt2svc.api.errors import ApiError
from gpt2svc.api.openapi_limits import MAX_TIMEOUT_S, TIMEOUT_HEADER
from gpt2svc.api.raw_headers import first_header
from gpt2svc.request_context import deadline_context

_HEADER = TIMEOUT_HEADER.lower().encode("ascii")


class DeadlineMiddleware:
    """Notes the deadline for whatever the request sets going. 422 for what is no number of seconds."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_post = scope["type"] == "http" and scope["method"] == "POST"
        given = first_header(scope, _HEADER) if is_post else None
        if given is None:
            await self._app(scope, receive, send)
            return
        timeout_s = _seconds(given)
        if timeout_s is None:
            message = f"{TIMEOUT_HEADER} must be a number of seconds above 0 and at most {MAX_TIMEOUT_S:g}."
            await ApiError(422, message, "invalid_input", param=TIMEOUT_HEADER).response()(scope, receive, send)
            return
        with deadline_context(time.monotonic() + timeout_s):
            await self._app(scope, receive, send)


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text) if text.isascii() and len(text) <= 32 else 0.0
    except ValueError:
        return None
    return seconds if 0 < seconds <= MAX_TIMEOUT_S else None
