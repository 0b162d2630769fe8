"""Tells clients of generation routes, on every answer, how much they may still ask for: `x-ratelimit-*`."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gpt2svc.api.identity import identity_of
from gpt2svc.api.openapi_limits import is_admitted
from gpt2svc.api.route_template import route_template
from gpt2svc.generation.admission import Admission, RateLimits


class RateLimitMiddleware:
    """Speaks on the routes that admission can refuse. The numbers are taken when the answer begins: on a stream the
    reply itself is counted, on a whole answer it is over.
    """

    def __init__(self, app: ASGIApp, *, admission: Admission) -> None:
        self._app = app
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_limits(message: Message) -> None:
            if message["type"] == "http.response.start" and _is_limited(scope):
                limits = limit_headers(self._admission.limits(identity_of(scope).key_id))
                more = ((name.encode("ascii"), value.encode("ascii")) for name, value in limits.items())
                message["headers"] = [*message["headers"], *more]
            await send(message)

        await self._app(scope, receive, send_with_limits if scope["type"] == "http" else send)


def limit_headers(limits: RateLimits) -> dict[str, str]:
    """In OpenAI's names. The limits are on what is in progress at one time, not on what comes in a minute."""
    return {
        "x-ratelimit-limit-requests": str(limits.max_requests),
        "x-ratelimit-remaining-requests": str(limits.num_free_requests),
        "x-ratelimit-reset-requests": f"{limits.reset_s:.3f}s",
        "x-ratelimit-limit-tokens": str(limits.max_tokens),
        "x-ratelimit-remaining-tokens": str(limits.num_free_tokens),
        "x-ratelimit-reset-tokens": f"{limits.reset_s:.3f}s",
    }


def _is_limited(scope: Scope) -> bool:
    return is_admitted(route_template(scope), getattr(scope.get("route"), "responses", None) or ())
