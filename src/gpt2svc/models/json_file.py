"""Reading JSON that somebody else wrote: bounded, strict, with errors that name the file."""

import json
from pathlib import Path
from typing import Any

from gpt2svc.errors import ModelFormatError


def parse_json_object(content: bytes | str, *, source: str) -> dict[str, Any]:
    """The JSON object in `content`; `source` names it in errors.

    Refuses what parsers disagree about: duplicate keys, NaN and infinity, bytes that are not UTF-8. Raises
    ModelFormatError.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a key stands twice in one object")
        return found

    def refuse_constant(constant: str) -> Any:
        raise ValueError(f"{constant} is not JSON")

    try:
        text = content if isinstance(content, str) else content.decode("utf-8")
        value = json.loads(text, object_pairs_hook=unique, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ModelFormatError(f"{source} is not valid JSON: {reason}.", field=source) from error
    if not isinstance(value, dict):
        raise ModelFormatError(f"{source} must hold a JSON object, not {type(value).__name__}.", field=source)
    return value


def read_json_object(path: Path, *, max_bytes: int) -> dict[str, Any]:
    """The JSON object in a file of at most `max_bytes`. Raises ModelFormatError, also when it can't be read."""
    return parse_json_object(read_bytes(path, max_bytes=max_bytes), source=path.name)


def read_bytes(path: Path, *, max_bytes: int) -> bytes:
    """A whole file of at most `max_bytes`. Raises ModelFormatError, also when it can't be read."""
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise ModelFormatError(f"Can't read {path}: {error.strerror or error}.", field=path.name) from error
    if len(content) > max_bytes:
        raise ModelFormatError(f"{path} is larger than the {max_bytes:,} bytes allowed for it.", field=path.name)
    return content
