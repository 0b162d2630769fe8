"""Reading training text: JSONL rows of `{"messages": […]}` or `{"text": …}`, every bad line reported."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gpt2svc.errors import InvalidInputError
from gpt2svc.training.recipe import Source
from gpt2svc.training.transcript import ROLE_LABELS, Turn, render_transcript

MAX_REPORTED_LINES = 20


@dataclass(frozen=True)
class Document:
    """One text to learn. Conversations can be joined, running text can't."""

    text: str
    is_conversation: bool
    opening: str  # what duplicates are counted by


@dataclass(frozen=True)
class SourceDocuments:
    source: Source
    documents: tuple[Document, ...]
    digest: str  # SHA-256 of the file, so that a resumed run notices other text
    num_excluded: int


class CorpusError(InvalidInputError):
    """Lines that can't be used: `problems` holds up to 20, each with its file, line number and reason."""

    def __init__(self, problems: list[str]) -> None:
        count = "1 line can't" if len(problems) == 1 else f"{len(problems)} lines can't"
        self.problems = problems[:MAX_REPORTED_LINES]
        super().__init__(f"{count} be used; the first: {problems[0]}", field="data")


class _BadRowError(Exception):
    pass


def read_sources(sources: tuple[Source, ...]) -> list[SourceDocuments]:
    """Every source's documents, in order.

    Raises CorpusError with the bad lines of all files, InvalidInputError where a file can't be read or holds nothing.
    """
    problems: list[str] = []
    read = [_read(source, problems) for source in sources]
    if problems:
        raise CorpusError(problems)
    for entry in read:
        if not entry.documents:
            reason = "every row is excluded" if entry.num_excluded else "no rows"
            raise InvalidInputError(f"{entry.source.path} holds nothing to train on ({reason}).", field="data")
    return read


def _read(source: Source, problems: list[str]) -> SourceDocuments:
    patterns = [_compile(pattern) for pattern in source.exclude]
    documents: list[Document] = []
    num_excluded = 0
    seen: Counter[str] = Counter()
    digest = hashlib.sha256()
    for number, row in _rows(source, problems, digest):
        try:
            document = _document(row)
        except _BadRowError as error:
            problems.append(f"{source.path}:{number}: {error}")
            continue
        seen[document.opening] += 1
        is_duplicate = 0 < source.max_duplicates < seen[document.opening]
        if is_duplicate or any(pattern.search(document.text) for pattern in patterns):
            num_excluded += 1
        else:
            documents.append(document)
    return SourceDocuments(source, tuple(documents), digest.hexdigest(), num_excluded)


def _rows(source: Source, problems: list[str], digest: Any) -> Iterator[tuple[int, Any]]:
    try:
        with source.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                digest.update(line)
                if number == 1:
                    line = line.removeprefix(b"\xef\xbb\xbf")
                if not line.strip():
                    continue
                try:
                    yield number, json.loads(line)
                except UnicodeDecodeError as error:
                    problems.append(f"{source.path}:{number}: not UTF-8 at byte {error.start + 1}")
                except json.JSONDecodeError as error:
                    problems.append(f"{source.path}:{number}: not JSON: {error.msg} at column {error.colno}")
                except RecursionError:
                    problems.append(f"{source.path}:{number}: nested too deeply")
    except OSError as error:
        raise InvalidInputError(f"Can't read {source.path}: {error.strerror}.", field="data") from error


def _document(row: Any) -> Document:
    if not isinstance(row, dict):
        raise _BadRowError(f"an object is needed, not {type(row).__name__}")
    if "messages" in row:
        turns = _turns(row["messages"])
        text = render_transcript(turns)
        _check_encodable(text)
        return Document(text, is_conversation=True, opening=turns[0].content)
    if "text" in row:
        text = row["text"]
        if not isinstance(text, str) or not text.strip():
            raise _BadRowError('"text" must be a string that is not blank')
        _check_encodable(text)
        return Document(text, is_conversation=False, opening=text)
    raise _BadRowError('neither "messages" nor "text" is there')


def _turns(messages: Any) -> list[Turn]:
    if not isinstance(messages, list) or not messages:
        raise _BadRowError('"messages" must be a list that is not empty')
    turns = []
    for index, message in enumerate(messages):
        place = f"messages[{index}]"
        if not isinstance(message, dict):
            raise _BadRowError(f"{place} must be an object")
        role, content = message.get("role"), message.get("content")
        if not isinstance(role, str) or role not in ROLE_LABELS:
            raise _BadRowError(f'{place}.role must be "user" or "assistant", not {role!r}')
        if not isinstance(content, str):
            raise _BadRowError(f"{place}.content must be a string")
        turns.append(Turn(role, content))
    # A document ends with a reply: what follows the last one would teach the model to end after a question.
    while turns and turns[-1].role == "user":
        turns.pop()
    if not turns:
        raise _BadRowError("no assistant's message is there to learn from")
    return turns


def _check_encodable(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise _BadRowError(f"a lone surrogate at character {error.start + 1} of the text") from None


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern, re.IGNORECASE | re.MULTILINE)
    except re.error as error:
        raise InvalidInputError(
            f"exclude: {pattern!r} is not a regular expression: {error}.", field="exclude"
        ) from error
