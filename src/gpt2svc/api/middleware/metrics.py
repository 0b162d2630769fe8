"""Counts every answer, the ones to requests that no route ever saw included."""

from prometheus_client import Counter
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gpt2svc.api.route_template import route_template


class MetricsMiddleware:
    """The outermost layer: what the others refuse or fail at counts too.

    NOTE: the label is the template that the router found ("/api/conversations/{conversation_id}"), never the path or
    the method of a request: anybody can think up new ones for ever, and each would be a series that is kept.
    """

    def __init__(self, app: ASGIApp, *, requests: Counter) -> None:
        self._app = app
        self._requests = requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._requests.labels(route_template(scope), f"{message['status'] // 100}xx").inc()
            await send(message)

        await self._app(scope, receive, send_counted)
