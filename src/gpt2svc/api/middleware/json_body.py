"""Request bodies: read within bounds, and known to be sound JSON, before any route sees them."""

import asyncio
import json
import re
from collections.abc import Mapping
from email.message import Message as Headers
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gpt2svc.api.errors import ApiError
from gpt2svc.errors import InvalidInputError

MAX_DEPTH = 32
READ_TIMEOUT_S = 30.0  # for a whole body: a client that drips one would hold its connection for ever
FILE_TIMEOUT_FACTOR = 10  # a file may take so many times as long

_BODY_METHODS = frozenset({"POST", "PUT", "PATCH"})
_DISCARD_BYTES = 16 * 1024 * 1024  # read on, and away, so that a client still sending gets to see our answer
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")
_MAX_DIGITS = 300  # a longer whole number is beyond any limit, any float, and slow to read


class JsonBodyMiddleware:
    """413 for more than `max_bytes` (counted, not believed), 415 for another type, 400 for what is not JSON."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_bytes: int,
        file_limits: Mapping[str, tuple[str, int]] | None = None,
        read_timeout_s: float = READ_TIMEOUT_S,
    ) -> None:
        """`file_limits`: paths that take a file of any type, which they check themselves: (setting, most bytes)."""
        self._app = app
        self._max_bytes = max_bytes
        self._file_limits = file_limits or {}
        self._read_timeout_s = read_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in _BODY_METHODS:
            await self._app(scope, receive, send)
            return
        is_file = scope["path"] in self._file_limits
        name, max_bytes = self._file_limits.get(scope["path"], ("max_body_bytes", self._max_bytes))
        if _declared_bytes(scope) > max_bytes + _DISCARD_BYTES:
            await _too_large(name, max_bytes).response()(scope, receive, send)
            return
        timeout_s = self._read_timeout_s * (FILE_TIMEOUT_FACTOR if is_file else 1)
        try:
            async with asyncio.timeout(timeout_s):
                body = await self._read(receive, max_bytes)
        except TimeoutError:
            message = f"The body did not arrive within {timeout_s:g} seconds."
            await ApiError(408, message, "body_timeout", headers={"Connection": "close"}).response()(
                scope, receive, send
            )
            return
        if body is None:
            return  # the client left in the middle of it: nobody to answer
        refusal = _size_refusal(body, name, max_bytes) or (None if is_file else _type_refusal(scope, body))
        if refusal is not None:
            await refusal.response()(scope, receive, send)
            return
        is_read = False

        async def receive_again() -> Message:
            nonlocal is_read
            if is_read:
                return await receive()  # disconnects
            is_read = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, receive_again, send)

    async def _read(self, receive: Receive, max_bytes: int) -> bytes | None:
        """At most `max_bytes + 1` bytes of the body, the last of which says that there were more."""
        body = bytearray()
        num_read = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            chunk = message.get("body", b"")
            num_read += len(chunk)
            body += chunk[: max_bytes + 1 - len(body)]
            if not message.get("more_body", False) or num_read > max_bytes + _DISCARD_BYTES:
                return bytes(body)


def _declared_bytes(scope: Scope) -> int:
    """What Content-Length says: good for refusing early, never for believing."""
    given = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    return int(given) if given.isdigit() and len(given) <= 20 else 0


def _size_refusal(body: bytes, name: str, max_bytes: int) -> ApiError | None:
    return _too_large(name, max_bytes) if len(body) > max_bytes else None


def _too_large(name: str, max_bytes: int) -> ApiError:
    message = f"The body has more than {max_bytes} bytes (setting {name})."
    return ApiError(413, message, "body_too_large", headers={"Connection": "close"})


def _type_refusal(scope: Scope, body: bytes) -> ApiError | None:
    if not body:
        return None
    if not _is_json_type(scope):
        return ApiError(
            415,
            "The body must be JSON in UTF-8, with the header `Content-Type: application/json`.",
            "unsupported_media_type",
            param="Content-Type",
        )
    return _json_refusal(body)


def _is_json_type(scope: Scope) -> bool:
    given = [value for name, value in scope["headers"] if name == b"content-type"]
    if len(given) != 1:
        return False
    headers = Headers()
    headers["content-type"] = given[0].decode("latin-1")
    is_json = headers.get_content_type() == "application/json"
    return is_json and (headers.get_content_charset() or "utf-8") in ("utf-8", "utf8")


def _json_refusal(body: bytes) -> ApiError | None:
    if _is_too_deep(body):
        return ApiError(400, f"The body is nested more than {MAX_DEPTH} levels deep.", "invalid_json")
    try:
        json.loads(body.decode("utf-8"), object_pairs_hook=_check_pairs, parse_int=_read_int)
    except UnicodeDecodeError:
        return ApiError(400, "The body is not valid UTF-8.", "invalid_json")
    except json.JSONDecodeError as error:
        return ApiError(
            400, f"The body is not valid JSON: {error.msg} (line {error.lineno}, column {error.colno}).", "invalid_json"
        )
    except InvalidInputError as error:
        return ApiError(422, error.message, error.code, param=error.field)
    return None


def _is_too_deep(body: bytes) -> bool:
    """Counted before parsing, since Python's parser runs out of stack on deep nesting."""
    depth = 0
    for bracket in _BRACKET.finditer(_STRING.sub(b"", body)):
        depth += 1 if bracket[0] in b"[{" else -1
        if depth > MAX_DEPTH:
            return True
    return False


def _check_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise InvalidInputError(f"{name[:100]} stands twice in one object.", field=name)
        if isinstance(value, _HugeNumber):
            raise InvalidInputError(f"{name[:100]} has more than {_MAX_DIGITS} digits.", field=name)
        found[name] = value
    return found


class _HugeNumber:
    """Stands for a whole number too long to read, until the name of its field is known."""


def _read_int(digits: str) -> int | _HugeNumber:
    return int(digits) if len(digits) <= _MAX_DIGITS else _HugeNumber()
