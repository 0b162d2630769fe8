"""Keeps web pages of other origins away, also where they reach us by a name of their own (DNS rebinding).

A service on loopback has no key: what guards it from the pages in its user's browser is that each request must name a
host that is ours, and that a request which a page sent must come from a page of ours.
"""

from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from gpt2svc.api.errors import ApiError
from gpt2svc.api.raw_headers import first_header

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class TrustedOrigins:
    """`hosts`: the names that `Host` may hold besides loopback's; None lets any name in (a key guards instead).

    `Origin` must name the same host and port as `Host`, or, where a proxy rewrites `Host`, one of `hosts`.
    """

    def __init__(self, hosts: Iterable[str] | None) -> None:
        self._hosts = None if hosts is None else LOOPBACK_NAMES | {_bare(host) for host in hosts}
        self._last_good_host: str | None = None  # nearly every request names the same, and parsing it takes its time

    def refusal(self, scope: Scope) -> ApiError | None:
        """Why a request is not answered; None for one that is."""
        given_host = first_header(scope, b"host") or ""
        if given_host != self._last_good_host and not self._is_own_host(given_host):
            return ApiError(
                421,
                "This service does not answer to that host name. Add it to the setting allowed_hosts "
                "(GPT2SVC_ALLOWED_HOSTS) if it should.",
                "host_not_allowed",
                param="Host",
            )
        self._last_good_host = given_host
        origin = first_header(scope, b"origin")
        if origin is not None and not self._is_own_origin(origin, given_host):
            return ApiError(403, "Requests from pages of another origin are refused.", "origin_refused", param="Origin")
        is_cross_site = first_header(scope, b"sec-fetch-site") == "cross-site"
        if origin is None and is_cross_site and scope["method"] not in _SAFE_METHODS:
            return ApiError(403, "Requests from pages of another site are refused.", "origin_refused", param="Origin")
        return None

    def _is_own_host(self, given: str) -> bool:
        host = _netloc(f"//{given}", "http")
        return host is not None and (self._hosts is None or host[0] in self._hosts)

    def _is_own_origin(self, origin: str, host: str) -> bool:
        scheme = origin.partition(":")[0].lower()
        named = _netloc(origin, scheme)
        if scheme not in ("http", "https") or named is None:
            return False  # "null" too: a sandboxed frame or a local file
        # A proxy that ends TLS hands on the name without a port: the default one is then that of the page's scheme.
        is_same = named == _netloc(f"//{host}", scheme)
        return is_same or (self._hosts is not None and named[0] in self._hosts - LOOPBACK_NAMES)


class TrustedOriginMiddleware:
    """Answers what `origins` refuse."""

    def __init__(self, app: ASGIApp, *, origins: TrustedOrigins) -> None:
        self._app = app
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._origins.refusal(scope) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await refusal.response()(scope, receive, send)


def _netloc(url: str, scheme: str) -> tuple[str, int] | None:
    """Host and port, exactly parsed: prefixes and suffixes of a name mean nothing. None for what is no such pair."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host or parts.username is not None or parts.path not in ("", "/") or parts.query or parts.fragment:
        return None
    return _bare(host), port if port is not None else {"https": 443}.get(scheme, 80)


def _bare(host: str) -> str:
    return host.strip("[]").rstrip(".").lower()
