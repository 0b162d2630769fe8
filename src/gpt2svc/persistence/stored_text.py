"""What text may be stored, and in what form it is searched."""

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from gpt2svc.errors import InvalidInputError


def check_text(field: str, text: str | None) -> None:
    """Raises InvalidInputError for a NUL (PostgreSQL stores none) or a lone surrogate (UTF-8 has none)."""
    if text is None:
        return
    if "\x00" in text:
        raise InvalidInputError(f"{field} holds a NUL character.", field=field)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            f"{field} holds a lone surrogate (U+{ord(text[error.start]):04X}).", field=field
        ) from None


def check_json(field: str, value: Any) -> None:
    """The same for every string in a value that will be stored as JSON, keys included."""
    if isinstance(value, str):
        check_text(field, value)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            check_text(field, str(key))
            check_json(field, item)
    elif isinstance(value, Sequence):
        for item in value:
            check_json(field, item)


def fold(text: str) -> str:
    """`text` as it is searched: two texts that differ only in case, or in how a letter is composed, fold alike.

    Databases fold badly: SQLite knows only ASCII's cases, and neither it nor PostgreSQL takes a letter й that was typed
    as two code points for the one that is a single code point. So folded text has columns of its own.
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
