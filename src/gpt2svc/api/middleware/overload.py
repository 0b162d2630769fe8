"""Refuses at the door what would be refused for load anyway: before the body is read, parsed or looked anything up for.

A burst is when a service can least afford to work for nothing: without this, a refusal costs as much as the beginning
of a reply, and a thousand of them hold up the streams that are running.
"""

from starlette.types import ASGIApp, Receive, Scope, Send

from gpt2svc.api.identity import identity_of
from gpt2svc.api.load_shedding import LoadShedder


class OverloadMiddleware:
    """It stands behind the key check. What it lets through is decided where the request's size is known.

    Most refusals never come here: the gate before the layers (api/refusal_gate.py) has answered them.
    """

    def __init__(self, app: ASGIApp, *, shedder: LoadShedder) -> None:
        self._app = app
        self._shedder = shedder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._shedder.route(scope) if scope["type"] == "http" else None
        refusal = None if route is None else self._shedder.refuse(identity_of(scope).key_id)
        if refusal is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = route  # no router will see it: this is for the metrics, the limits and the log
        scope["state"]["is_shed"] = True
        await send({"type": "http.response.start", "status": 429, "headers": refusal.headers})
        await send({"type": "http.response.body", "body": refusal.body})
