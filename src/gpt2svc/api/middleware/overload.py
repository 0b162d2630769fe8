"""Refuses at the door what would be refused for load anyway: before the body is read, parsed or looked anything up for.

A burst is when a service can least afford to work for nothing: without this, a refusal costs as much as the beginning
of a reply, and a thousand of them hold up the streams that are running.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from contextvars import Context

from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from gpt2svc.api.errors import from_domain, retry_headers
from gpt2svc.api.identity import identity_of
from gpt2svc.api.raw_headers import first_header
from gpt2svc.errors import OverloadedError
from gpt2svc.generation.admission import Admission

logger = logging.getLogger(__name__)

REPORT_INTERVAL_S = 1.0


class OverloadMiddleware:
    """429 for a POST to one of `routes` while admission has no place for its owner, even for the smallest request.

    It stands behind the key check. What it lets through is decided where the request's size is known. A request with
    an `Idempotency-Key` goes on too: it may be one that was accepted before, which gets its reply however full it is.
    """

    def __init__(
        self, app: ASGIApp, *, admission: Admission, routes: Sequence[APIRoute], is_accepting: Callable[[], bool]
    ) -> None:
        """`is_accepting`: False during a shutdown, which answers for itself."""
        self._app = app
        self._admission = admission
        self._routes = routes
        self._is_accepting = is_accepting
        self._rendered = ("", b"")  # the last refusal's message, and the body that says so
        self._num_refused = 0  # since they were last reported

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and self._is_accepting():
            route = self._route(scope["path"])
            if route is not None and first_header(scope, b"idempotency-key") is None:
                try:
                    self._admission.require_place(identity_of(scope).key_id)
                except OverloadedError as error:
                    scope["route"] = route  # no router will see it: this is for the metrics, the limits and the log
                    scope["state"]["is_shed"] = True
                    await self._refuse(error, send)
                    return
        await self._app(scope, receive, send)

    def _route(self, path: str) -> APIRoute | None:
        return next((route for route in self._routes if route.path_regex.match(path)), None)

    async def _refuse(self, error: OverloadedError, send: Send) -> None:
        self._report_soon()
        if self._rendered[0] != error.message:
            self._rendered = (error.message, json.dumps(from_domain(error).body()).encode("ascii"))
        body = self._rendered[1]
        retry = retry_headers(error.retry_after_s, is_for_load=True)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            *((name.encode("ascii"), value.encode("ascii")) for name, value in retry.items()),
        ]
        await send({"type": "http.response.start", "status": 429, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _report_soon(self) -> None:
        """One log line, of no one request, for all refusals of a second: a line each would cost as much as refusing."""
        self._num_refused += 1
        if self._num_refused == 1:
            asyncio.get_running_loop().call_later(REPORT_INTERVAL_S, self._report, context=Context())

    def _report(self) -> None:
        num_refused, self._num_refused = self._num_refused, 0
        logger.warning("Requests were refused for load", extra={"num_refused": num_refused})
