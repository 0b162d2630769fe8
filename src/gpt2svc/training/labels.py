"""LabelSet: the classes of a classification, and the rows that don't fit them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gpt2svc.errors import InvalidInputError
from gpt2svc.training.documents import CorpusError, SourceDocuments

MAX_CLASSES = 1000


@dataclass(frozen=True)
class LabelSet:
    """`names[i]` is class i: the number itself where the data has numbers."""

    names: tuple[str, ...]

    def number(self, label: int | str) -> int | None:
        """None where it is none of them."""
        if isinstance(label, int):
            return label if label < len(self.names) else None
        return self.names.index(label) if label in self.names else None


def find_labels(sources: Sequence[SourceDocuments], num_labels: int | None, known: Sequence[str] | None) -> LabelSet:
    """The classes of all rows: those of the model where it has some (`known`), else what the data says.

    Raises CorpusError with the rows that have no label or one out of range, InvalidInputError where there is one class.
    """
    rows = [(entry.place(index), document.label) for entry in sources for index, document in enumerate(entry.documents)]
    problems = [f'{place}: "label" is missing' for place, label in rows if label is None]
    if problems:
        raise CorpusError(problems)
    numbers = {label for _, label in rows if isinstance(label, int)}
    spelled = {label for _, label in rows if isinstance(label, str)}
    if known is not None and num_labels in (None, len(known)):
        labels = LabelSet(tuple(known))
    elif numbers and spelled:
        raise InvalidInputError("Labels must be all numbers or all names.", field="data")
    elif spelled:
        names = sorted(spelled)
        if num_labels is not None and num_labels != len(names):
            raise InvalidInputError(
                f"The data has {len(names)} classes, not {num_labels}: leave --num-labels out.", field="num_labels"
            )
        labels = LabelSet(tuple(names))
    else:
        count = num_labels if num_labels is not None else min(max(numbers) + 1, MAX_CLASSES)
        labels = LabelSet(tuple(str(number) for number in range(count)))
    if len(labels.names) < 2:
        raise InvalidInputError("The data has one class only: there is nothing to tell apart.", field="data")
    allowed = f"0 to {len(labels.names) - 1}" if not spelled else ", ".join(labels.names[:20])
    problems = [
        f"{place}: label {label!r:.40} is out of range: the classes are {allowed}"
        for place, label in rows
        if label is not None and labels.number(label) is None
    ]
    if problems:
        raise CorpusError(problems)
    return labels
