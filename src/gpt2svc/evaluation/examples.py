"""Examples: JSONL rows to evaluate on, every bad line reported with its number and reason."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpt2svc.errors import InvalidInputError
from gpt2svc.training.documents import CorpusError
from gpt2svc.training.transcript import ROLE_LABELS, Turn, render_transcript


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


class _BadRowError(Exception):
    pass


def read_examples(path: Path) -> ExampleFile:
    """Rows of `{"text"}`, `{"messages"}` or `{"prompt", "completion"}`, in UTF-8 with or without a byte order mark.

    Conversations become transcripts, as in training. Raises CorpusError with the bad lines, InvalidInputError where
    the file can't be read or holds no row.
    """
    problems: list[str] = []
    examples: list[Example] = []
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                digest.update(line)
                try:
                    examples.extend(_examples(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line))
                except _BadRowError as error:
                    problems.append(f"{path}:{number}: {error}")
    except OSError as error:
        raise InvalidInputError(f"Can't read {path}: {error.strerror}.", field="data") from error
    if problems:
        raise CorpusError(problems)
    if not examples:
        raise InvalidInputError(f"{path} holds nothing to evaluate on (no rows).", field="data")
    return ExampleFile(path, tuple(examples), digest.hexdigest())


def _examples(line: bytes) -> Iterator[Example]:
    if not line.strip():
        return
    try:
        row = json.loads(line)
    except UnicodeDecodeError as error:
        raise _BadRowError(f"not UTF-8 at byte {error.start + 1}") from None
    except json.JSONDecodeError as error:
        raise _BadRowError(f"not JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise _BadRowError("nested too deeply") from None
    if not isinstance(row, dict):
        raise _BadRowError(f"an object is needed, not {type(row).__name__}")
    if "messages" in row:
        yield Example(_transcript(row["messages"]))
    elif "prompt" in row or "completion" in row:
        yield Example(_string(row, "completion"), prompt=_string(row, "prompt"))
    elif "text" in row:
        yield Example(_string(row, "text"))
    else:
        raise _BadRowError('none of "text", "messages", "prompt" and "completion" is there')


def _string(row: dict[str, Any], key: str) -> str:
    text = row.get(key)
    if not isinstance(text, str) or not text.strip():
        raise _BadRowError(f'"{key}" must be a string that is not blank')
    return _encodable(text)


def _transcript(messages: Any) -> str:
    if not isinstance(messages, list) or not messages:
        raise _BadRowError('"messages" must be a list that is not empty')
    turns = []
    for index, message in enumerate(messages):
        role, content = (message.get("role"), message.get("content")) if isinstance(message, dict) else (None, None)
        if not isinstance(role, str) or role not in ROLE_LABELS:
            raise _BadRowError(f'messages[{index}].role must be "user" or "assistant"')
        if not isinstance(content, str):
            raise _BadRowError(f"messages[{index}].content must be a string")
        turns.append(Turn(role, content))
    while turns and turns[-1].role == "user":  # as in training: a document ends with a reply
        turns.pop()
    if not turns:
        raise _BadRowError("no assistant's message is there")
    return _encodable(render_transcript(turns))


def _encodable(text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise _BadRowError(f"a lone surrogate at character {error.start + 1} of the text") from None
    return text
