"""Checks of texts that users send, in the words of the HTTP interface."""

import unicodedata

from gpt2svc.errors import InvalidInputError

MAX_CONTENT_LENGTH = 100_000  # characters: far over any window, small enough to count its tokens
MAX_TITLE_INPUT_LENGTH = 200
MAX_IDEMPOTENCY_KEY_LENGTH = 255


def check_content(content: str) -> str:
    """Raises InvalidInputError when a message is blank, too long or not storable text."""
    check_text("content", content, MAX_CONTENT_LENGTH)
    if is_blank(content):
        raise InvalidInputError("content must not be empty or blank.", field="content")
    return content


def is_blank(text: str) -> bool:
    """Whether nothing of it can be seen: white space, controls, and format characters such as U+200B and U+FEFF."""
    return all(character.isspace() or unicodedata.category(character) in ("Cc", "Cf") for character in text)


def check_title(title: str | None) -> str | None:
    """A title without white space around it; None for none."""
    if title is None:
        return None
    check_text("title", title, MAX_TITLE_INPUT_LENGTH)
    if is_blank(title):
        raise InvalidInputError("title must not be blank; leave it out or send null for none.", field="title")
    return title.strip()


def check_idempotency_key(key: str | None) -> str | None:
    if key is None:
        return None
    if not 1 <= len(key) <= MAX_IDEMPOTENCY_KEY_LENGTH or not key.isascii() or not key.isprintable():
        raise InvalidInputError(
            f"Idempotency-Key must have 1 to {MAX_IDEMPOTENCY_KEY_LENGTH} printable ASCII characters.",
            field="Idempotency-Key",
        )
    return key


def check_text(field: str, text: str, max_length: int) -> None:
    """Raises InvalidInputError for what no database and no tokenizer takes, and for more than `max_length`."""
    if len(text) > max_length:
        raise InvalidInputError(f"{field} has {len(text)} characters; at most {max_length} are taken.", field=field)
    if "\x00" in text:
        raise InvalidInputError(f"{field} holds a NUL character.", field=field)
    if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
        raise InvalidInputError(f"{field} holds a lone surrogate, which is not valid Unicode.", field=field)
