"""The outermost layer: names each request, logs its end, and answers for what nobody caught."""

import logging
import re
import secrets
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gpt2svc.api.errors import ApiError, printable

logger = logging.getLogger(__name__)

_HEADER = "x-request-id"
_ACCEPTED = re.compile(r"[A-Za-z0-9._-]{1,64}")  # taken over from a proxy; anything else could forge log lines
_PROBES = frozenset({"/livez", "/readyz"})  # every few seconds, for ever


class RequestIdMiddleware:
    """Puts `x-request-id` on every response, and the id into `scope["state"]["request_id"]`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(_HEADER, "")
        request_id = given if _ACCEPTED.fullmatch(given) else f"req_{secrets.token_hex(12)}"
        scope.setdefault("state", {})["request_id"] = request_id
        started_at = time.perf_counter()
        status = 0

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[_HEADER] = request_id
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
            logger.log(
                logging.DEBUG if scope["path"] in _PROBES else logging.INFO,
                "%s %s %s %.0f ms %s",
                printable(scope["method"], 20),
                printable(scope["path"], 200),
                status or "-",
                (time.perf_counter() - started_at) * 1000,
                request_id,
            )
