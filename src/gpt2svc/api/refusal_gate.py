"""Says no before the app is asked: the server's protocol hands each request's head to this gate first.

An ASGI request costs a task and a walk through all layers before anything is decided. When a thousand come in the same
instant, each waits for those before it, so what counts is what one refusal costs; here it costs a tenth of that.
"""

import logging
from functools import cache, lru_cache, partial

from prometheus_client import Counter
from starlette.types import Scope

from gpt2svc.api.key_ring import KeyRing
from gpt2svc.api.load_shedding import LoadShedder
from gpt2svc.api.middleware.api_key import given_key
from gpt2svc.api.middleware.rate_limit import limit_headers
from gpt2svc.api.middleware.request_id import REQUEST_ID_HEADER, request_id_of
from gpt2svc.api.middleware.security_headers import DEFAULT_HEADERS
from gpt2svc.api.middleware.trusted_origin import TrustedOrigins
from gpt2svc.generation.admission import Admission, RateLimits

logger = logging.getLogger(__name__)

_GUARDS = b"".join(b"%s: %s\r\n" % header for header in DEFAULT_HEADERS.items())


class RefusalGate:
    """Answers what the app would refuse for load, and in the same words; whatever is in any doubt goes to the app."""

    def __init__(
        self,
        shedder: LoadShedder,
        *,
        origins: TrustedOrigins,
        keys: KeyRing,
        admission: Admission,
        requests: Counter,
    ) -> None:
        """`requests` counts answers by route and class of status."""
        self._shedder = shedder
        self._origins = origins
        self._keys = keys
        self._admission = admission
        self._counter = cache(partial(_refusals_of, requests))  # to look one up takes longer than to count

    def refuse(self, scope: Scope) -> bytes | None:
        """What to answer to a request with this `method`, `path` and these `headers`; None: the app's to answer.

        As it goes over the wire, from the headers on; those which the server adds to every answer come before it.
        """
        route = self._shedder.route(scope)
        # At "debug" each request has its line in the log, which the layers write.
        if route is None or logger.isEnabledFor(logging.DEBUG) or self._origins.refusal(scope) is not None:
            return None
        identity = self._keys.known(given_key(scope))
        if identity is None or "chat" not in identity.scopes:
            return None
        refusal = self._shedder.refuse(identity.key_id)
        if refusal is None:
            return None
        self._counter(route.path).inc()
        own = b"".join(b"%s: %s\r\n" % header for header in refusal.headers)
        named = b"%s: %s\r\n" % (REQUEST_ID_HEADER, request_id_of(scope).encode("ascii"))
        limited = _limit_lines(self._admission.limits(identity.key_id))
        return b"".join((own, _GUARDS, named, limited, b"\r\n", refusal.body))


def _refusals_of(requests: Counter, route: str) -> Counter:
    return requests.labels(route, "4xx")


@lru_cache(maxsize=16)  # the same ones for all that come at once
def _limit_lines(limits: RateLimits) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in limit_headers(limits).items()).encode("ascii")
