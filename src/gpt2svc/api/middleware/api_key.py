"""Deny by default: once there is a key, every path but a few named ones needs one."""

from starlette.types import ASGIApp, Receive, Scope, Send

from gpt2svc.api.errors import ApiError, from_domain
from gpt2svc.api.identity import Identity
from gpt2svc.api.key_ring import KeyRing
from gpt2svc.api.raw_headers import first_header
from gpt2svc.errors import StorageError

# Any key may ask how the service is.
_ANY_SCOPE_PATHS = frozenset({"/api/health", "/api/models"})


class ApiKeyMiddleware:
    """Takes the key as `Authorization: Bearer …` or `X-API-Key: …`, and notes whose it is.

    `open_paths` need none, `admin_paths` one with the scope "admin", all others one with the scope "chat". They are
    compared exactly, and with `scope["path"]`, which is what the router goes by: prefixes, and URLs put together from
    headers, have let requests slip by in other services.
    """

    def __init__(
        self, app: ASGIApp, *, keys: KeyRing, open_paths: frozenset[str], admin_paths: frozenset[str] = frozenset()
    ) -> None:
        self._app = app
        self._keys = keys
        self._open_paths = open_paths
        self._admin_paths = admin_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope["path"] in self._open_paths:
            await self._app(scope, receive, send)
            return
        found = await self._check(scope)
        if isinstance(found, Identity):
            scope.setdefault("state", {})["identity"] = found
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await found.response()(scope, receive, send)

    async def _check(self, scope: Scope) -> Identity | ApiError:
        try:
            identity = await self._keys.identify(given_key(scope))
        except StorageError as error:
            return from_domain(error)  # a key that can't be looked up may have been revoked
        if identity is None:
            return ApiError(
                401,
                "This service needs an API key: send it as `Authorization: Bearer <key>` or `X-API-Key: <key>`.",
                "invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )
        path = scope["path"]
        needed = "admin" if path in self._admin_paths else "chat"
        if needed not in identity.scopes and path not in _ANY_SCOPE_PATHS:
            return ApiError(403, f"This API key does not have the scope {needed!r}.", "insufficient_scope")
        return identity


def given_key(scope: Scope) -> str:
    scheme, _, token = (first_header(scope, b"authorization") or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else first_header(scope, b"x-api-key") or ""
