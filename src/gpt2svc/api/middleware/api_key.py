"""Deny by default: with a key set, every path but a few named ones needs it."""

import hmac
from hashlib import sha256

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from gpt2svc.api.errors import ApiError


class ApiKeyMiddleware:
    """Takes the key as `Authorization: Bearer …` or `X-API-Key: …`.

    `open_paths` are compared exactly, and with `scope["path"]`, which is what the router goes by: prefixes, and URLs
    put together from headers, have let requests slip by in other services.
    """

    def __init__(self, app: ASGIApp, *, api_key: str, open_paths: frozenset[str]) -> None:
        self._app = app
        self._digest = _digest(api_key)
        self._open_paths = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope["path"] in self._open_paths or self._is_allowed(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        refusal = ApiError(
            401,
            "This service needs an API key: send it as `Authorization: Bearer <key>` or `X-API-Key: <key>`.",
            "invalid_api_key",
            headers={"WWW-Authenticate": "Bearer"},
        )
        await refusal.response()(scope, receive, send)

    def _is_allowed(self, headers: Headers) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        # Digests have one length, so that the time of the comparison says nothing about the key.
        return hmac.compare_digest(_digest(given), self._digest)


def _digest(text: str) -> bytes:
    return sha256(text.encode("utf-8", "surrogatepass")).digest()
