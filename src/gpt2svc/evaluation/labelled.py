"""Rows with an answer: texts with their label, and prompts with choices of which one is right."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpt2svc.errors import InvalidInputError
from gpt2svc.evaluation.examples import first_row, read_rows
from gpt2svc.training.rows import BadRowError, Document, parse_row


@dataclass(frozen=True, slots=True)
class LabelledFile:
    path: Path
    examples: tuple[Document, ...]
    digest: str


def has_choices(path: Path) -> bool:
    """Whether the file's first row is a question with choices."""
    return "choices" in first_row(path)


def read_labelled(path: Path) -> LabelledFile:
    """Rows of training's formats, each with a "label". Raises CorpusError and InvalidInputError as `read_examples`."""
    return LabelledFile(path, *read_rows(path, _labelled))


def read_questions(path: Path) -> LabelledFile:
    """Rows of `{"prompt", "choices", "label"}`. Raises as `read_labelled`."""
    return LabelledFile(path, *read_rows(path, _question))


def _labelled(row: dict[str, Any]) -> Document:
    document = parse_row(row)
    if document.choices:
        raise BadRowError('a row with "choices" among rows without')
    if document.label is None:
        raise BadRowError('"label" is missing: the model classifies')
    return document


def _question(row: dict[str, Any]) -> Document:
    document = parse_row(row)
    if not document.choices:
        raise BadRowError('"choices" is missing, as the first row has it')
    return document


def label_numbers(file: LabelledFile, names: Sequence[str]) -> list[int]:
    """The number of each row's label among the model's. Raises InvalidInputError for one that it doesn't know."""
    numbers = []
    by_name = {name: number for number, name in enumerate(names)}
    for index, document in enumerate(file.examples):
        label = document.label
        number = by_name.get(label) if isinstance(label, str) else label
        if number is None or number >= len(names):
            shown = ", ".join(names[:20])
            raise InvalidInputError(
                f"{file.path}, example {index + 1}: the label {label!r:.40} is none of the model's ({shown}).",
                field="data",
            )
        numbers.append(number)
    return numbers
