"""Which requests a full service refuses before it reads them, and what it answers: one place for the middleware, which
sees them as ASGI requests, and the gate, which sees them still on the wire.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from contextvars import Context
from dataclasses import dataclass

from fastapi.routing import APIRoute
from starlette.types import Scope

from gpt2svc.api.errors import from_domain, retry_headers
from gpt2svc.api.raw_headers import first_header
from gpt2svc.errors import OverloadedError
from gpt2svc.generation.admission import Admission

logger = logging.getLogger(__name__)

REPORT_INTERVAL_S = 1.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """A 429, whole."""

    headers: list[tuple[bytes, bytes]]
    body: bytes


class LoadShedder:
    """Refuses a POST to one of `routes` while admission has no place for its owner, even for the smallest request."""

    def __init__(self, admission: Admission, routes: Sequence[APIRoute], *, is_accepting: Callable[[], bool]) -> None:
        """`is_accepting`: False during a shutdown, which answers for itself."""
        self._admission = admission
        self._routes = routes
        self._is_accepting = is_accepting
        self._rendered = ("", b"")  # the last refusal's message, and the body that says so
        self._num_refused = 0  # since they were last reported

    def route(self, scope: Scope) -> APIRoute | None:
        """The limited route that a request is for; None where it is to be heard in any case.

        One with an `Idempotency-Key` is: it may have been accepted before, and gets its reply however full it is.
        """
        if scope["method"] != "POST" or not self._is_accepting():
            return None
        path = scope["path"]
        route = next((route for route in self._routes if route.path_regex.match(path)), None)
        return route if route is None or first_header(scope, b"idempotency-key") is None else None

    def refuse(self, owner: str) -> Refusal | None:
        """What to answer to a request of `owner`; None while there is a place for it."""
        try:
            self._admission.require_place(owner)
        except OverloadedError as error:
            self._report_soon()
            return self._render(error)
        return None

    def _render(self, error: OverloadedError) -> Refusal:
        if self._rendered[0] != error.message:
            self._rendered = (error.message, json.dumps(from_domain(error).body()).encode("ascii"))
        body = self._rendered[1]
        retry = retry_headers(error.retry_after_s, is_for_load=True)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            *((name.encode("ascii"), value.encode("ascii")) for name, value in retry.items()),
        ]
        return Refusal(headers, body)

    def _report_soon(self) -> None:
        """One log line, of no one request, for all refusals of a second: a line each would cost as much as refusing."""
        self._num_refused += 1
        if self._num_refused == 1:
            asyncio.get_running_loop().call_later(REPORT_INTERVAL_S, self._report, context=Context())

    def _report(self) -> None:
        num_refused, self._num_refused = self._num_refused, 0
        logger.warning("Requests were refused for load", extra={"num_refused": num_refused})
