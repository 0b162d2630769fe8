"""Reading training data: JSONL in UTF-8, with or without a byte order mark, every bad line reported."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gpt2svc.errors import InvalidInputError
from gpt2svc.training.rows import BadRowError, Document, parse_row
from gpt2svc.training.settings import Source

MAX_REPORTED_LINES = 20


@dataclass(frozen=True)
class SourceDocuments:
    """What a file holds; `lines[i]` is the line number of `documents[i]`."""

    source: Source
    documents: tuple[Document, ...]
    lines: tuple[int, ...]
    digest: str  # SHA-256 of the file, so that a resumed run notices other data
    num_excluded: int

    def place(self, index: int) -> str:
        return f"{self.source.path}:{self.lines[index]}"


class CorpusError(InvalidInputError):
    """Lines that can't be used: `problems` holds up to 20, each with its file, line number and reason."""

    def __init__(self, problems: list[str]) -> None:
        count = "1 line can't" if len(problems) == 1 else f"{len(problems)} lines can't"
        self.problems = problems[:MAX_REPORTED_LINES]
        super().__init__(f"{count} be used; the first: {problems[0]}", field="data")


def read_sources(sources: Sequence[Source]) -> list[SourceDocuments]:
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
    lines: list[int] = []
    num_excluded = 0
    seen: Counter[str] = Counter()
    digest = hashlib.sha256()
    for number, row in _rows(source, problems, digest):
        try:
            document = parse_row(row)
        except BadRowError as error:
            problems.append(f"{source.path}:{number}: {error}")
            continue
        seen[document.opening] += 1
        is_duplicate = 0 < source.max_duplicates < seen[document.opening]
        if is_duplicate or any(pattern.search(document.text) for pattern in patterns):
            num_excluded += 1
        else:
            documents.append(document)
            lines.append(number)
    return SourceDocuments(source, tuple(documents), tuple(lines), digest.hexdigest(), num_excluded)


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
                except ValueError as error:  # a number of more digits than Python converts
                    problems.append(f"{source.path}:{number}: not JSON that can be read: {error}")
    except OSError as error:
        raise InvalidInputError(f"Can't read {source.path}: {error.strerror}.", field="data") from error


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern, re.IGNORECASE | re.MULTILINE)
    except re.error as error:
        raise InvalidInputError(
            f"exclude: {pattern!r} is not a regular expression: {error}.", field="exclude"
        ) from error
