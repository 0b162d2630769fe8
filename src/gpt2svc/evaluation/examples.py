"""Examples: JSONL rows to evaluate on, every bad line reported with its number and reason."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from gpt2svc.errors import InvalidInputError
from gpt2svc.training.documents import CorpusError
from gpt2svc.training.rows import BadRowError
from gpt2svc.training.transcript import ROLE_LABELS, Turn, render_transcript

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Example:
    """One row. `prompt` is None where the whole text is scored; else `text` is what should follow it."""

    text: str
    prompt: str | None = None


@dataclass(frozen=True, slots=True)
class ExampleFile:
    path: Path
    examples: tuple[Example, ...]
    digest: str  # SHA-256 of the file, by which two runs on the same data know each other

    @property
    def completions(self) -> tuple[Example, ...]:
        """Those with a prompt."""
        return tuple(example for example in self.examples if example.prompt is not None)


def read_examples(path: Path) -> ExampleFile:
    """Rows of `{"text"}`, `{"messages"}` or `{"prompt", "completion"}`, in UTF-8 with or without a byte order mark.

    Conversations become transcripts, as in training. Raises CorpusError with the bad lines, InvalidInputError where
    the file can't be read or holds no row.
    """
    return ExampleFile(path, *read_rows(path, _example))


def read_rows(path: Path, parse: Callable[[dict[str, Any]], T]) -> tuple[tuple[T, ...], str]:
    """What `parse` makes of each row, and the file's digest; it raises BadRowError for a row that can't be used.

    Raises CorpusError and InvalidInputError as `read_examples`.
    """
    problems: list[str] = []
    examples: list[T] = []
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                digest.update(line)
                try:
                    row = _row(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)
                    if row is not None:
                        examples.append(parse(row))
                except BadRowError as error:
                    problems.append(f"{path}:{number}: {error}")
    except OSError as error:
        raise InvalidInputError(f"Can't read {path}: {error.strerror}.", field="data") from error
    if problems:
        raise CorpusError(problems)
    if not examples:
        raise InvalidInputError(f"{path} holds nothing to evaluate on (no rows).", field="data")
    return tuple(examples), digest.hexdigest()


def first_row(path: Path) -> dict[str, Any]:
    """By which the kind of a file is told. Empty where there is none that can be read: `read_rows` says why."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                row = _row(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)
                if row is not None:
                    return row
    except (OSError, BadRowError):
        pass
    return {}


def _row(line: bytes) -> dict[str, Any] | None:
    """None of a blank line."""
    if not line.strip():
        return None
    try:
        row = json.loads(line)
    except UnicodeDecodeError as error:
        raise BadRowError(f"not UTF-8 at byte {error.start + 1}") from None
    except json.JSONDecodeError as error:
        raise BadRowError(f"not JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise BadRowError("nested too deeply") from None
    if not isinstance(row, dict):
        raise BadRowError(f"an object is needed, not {type(row).__name__}")
    return row


def _example(row: dict[str, Any]) -> Example:
    if "messages" in row:
        return Example(_transcript(row["messages"]))
    if "prompt" in row or "completion" in row:
        return Example(_string(row, "completion"), prompt=_string(row, "prompt"))
    if "text" in row:
        return Example(_string(row, "text"))
    raise BadRowError('none of "text", "messages", "prompt" and "completion" is there')


def _string(row: dict[str, Any], key: str) -> str:
    text = row.get(key)
    if not isinstance(text, str) or not text.strip():
        raise BadRowError(f'"{key}" must be a string that is not blank')
    return _encodable(text)


def _transcript(messages: Any) -> str:
    if not isinstance(messages, list) or not messages:
        raise BadRowError('"messages" must be a list that is not empty')
    turns = []
    for index, message in enumerate(messages):
        role, content = (message.get("role"), message.get("content")) if isinstance(message, dict) else (None, None)
        if not isinstance(role, str) or role not in ROLE_LABELS:
            raise BadRowError(f'messages[{index}].role must be "user" or "assistant"')
        if not isinstance(content, str):
            raise BadRowError(f"messages[{index}].content must be a string")
        turns.append(Turn(role, content))
    while turns and turns[-1].role == "user":  # as in training: a document ends with a reply
        turns.pop()
    if not turns:
        raise BadRowError("no assistant's message is there")
    return _encodable(render_transcript(turns))


def _encodable(text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadRowError(f"a lone surrogate at character {error.start + 1} of the text") from None
    return text
