"""What a browser may do with our responses: nothing, unless a page says otherwise."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

DEFAULT_HEADERS: dict[bytes, bytes] = {
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"cache-control": b"no-store",
}


class SecurityHeadersMiddleware:
    """Adds each header that a response has not set itself: pages bring their own policy and caching."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"]
                missing = DEFAULT_HEADERS.keys() - {name for name, _ in headers}
                message["headers"] = [
                    *headers,
                    *((name, value) for name, value in DEFAULT_HEADERS.items() if name in missing),
                ]
            await send(message)

        await self._app(scope, receive, send_guarded if scope["type"] == "http" else send)
