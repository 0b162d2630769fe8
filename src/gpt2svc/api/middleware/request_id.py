"""Nearly the outermost layer: names each request, logs its end, and answers for what nobody caught."""

import logging
import re
import secrets
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gpt2svc.api.errors import ApiError
from gpt2svc.api.identity import identity_of
from gpt2svc.api.raw_headers import first_header
from gpt2svc.api.route_template import route_template
from gpt2svc.request_context import request_id_context

logger = logging.getLogger(__name__)

REQUEST_ID_HEADER = b"x-request-id"
_ACCEPTED = re.compile(r"[A-Za-z0-9._-]{1,64}")  # taken over from a proxy; anything else could forge log lines
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_QUIET_ROUTES = frozenset({"/livez", "/readyz", "/metrics"})  # every few seconds, for ever


class RequestIdMiddleware:
    """Puts `x-request-id` on every response and the id into every log line of the request and of what it sets going."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = request_id_of(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        with request_id_context(request_id):
            await self._answer(scope, receive, send, request_id)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        started_at = time.perf_counter()
        named = (REQUEST_ID_HEADER, request_id.encode("ascii"))
        status = 0

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], named]
            await send(message)

        try:
            await self._app(scope, receive, send_named)
        except Exception:
            logger.exception("Request %s failed", request_id)
            if status:
                return  # too late for a status: the server closes the connection, which tells the client
            message = f"The service failed to answer this request. Its log names it {request_id}."
            await ApiError(500, message, "internal_error").response()(scope, receive, send_named)
        finally:
            _log_end(scope, request_id, status, time.perf_counter() - started_at)


def request_id_of(scope: Scope) -> str:
    """The one that a proxy has given, else a new one."""
    given = first_header(scope, REQUEST_ID_HEADER) or ""
    return given if _ACCEPTED.fullmatch(given) else f"req_{secrets.token_hex(12)}"


def _log_end(scope: Scope, request_id: str, status: int, duration_s: float) -> None:
    """One line a request: the route, never the path, which may hold what people search for."""
    route = route_template(scope)
    is_quiet = route in _QUIET_ROUTES or "is_shed" in scope["state"]
    logger.log(
        logging.DEBUG if is_quiet else logging.INFO,
        "request",
        extra={
            "method": scope["method"] if scope["method"] in _METHODS else "other",
            "route": route,
            "status": status or None,  # None: the client left before there was one
            "duration_ms": round(1000 * duration_s, 1),
            "request_id": request_id,
            "key_id": identity_of(scope).key_id,
        },
    )
