"""Cursors of paged lists: opaque to clients, the sort key of the last item to us."""

import base64
import json
from typing import Final

from gpt2svc.errors import InvalidInputError

MAX_PAGE_SIZE: Final = 1000


def encode_cursor(*key: int | str) -> str:
    packed = json.dumps(key, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def decode_cursor(cursor: str, *types: type[int] | type[str]) -> tuple[int | str, ...]:
    """The key that `encode_cursor` was given; InvalidInputError unless its values have exactly these types."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        key = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, RecursionError):
        key = None
    # NOTE: `type() is`, since True is an int too; integers past 64 bits would not bind to a column.
    if (
        not isinstance(key, list)
        or [type(value) for value in key] != list(types)
        or any(isinstance(value, int) and not -(2**63) <= value < 2**63 for value in key)
        or any(isinstance(value, str) and not value.isascii() for value in key)
    ):
        raise InvalidInputError("The cursor is not one that this list gave out.", field="cursor")
    return tuple(key)


def check_limit(limit: int) -> None:
    if not 1 <= limit <= MAX_PAGE_SIZE:
        raise InvalidInputError(f"limit must be from 1 to {MAX_PAGE_SIZE}.", field="limit")
