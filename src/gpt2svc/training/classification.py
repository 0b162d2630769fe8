"""Classification: the last token of a sequence decides between any number of classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gpt2svc.training.documents import CorpusError, SourceDocuments
from gpt2svc.training.encoder import Encoder
from gpt2svc.training.labels import LabelSet
from gpt2svc.training.rows import BadRowError
from gpt2svc.training.task import Batch, attention_mask, epoch_order, in_batches, length_groups, right_padded


@dataclass(frozen=True)
class LabelledSequences:
    """`rows[i]` are the token ids of example i, without an end marker: when served, a text has none either."""

    rows: tuple[np.ndarray, ...]
    labels: tuple[int, ...]
    repeats: tuple[float, ...]
    batch_size: int
    pad_id: int
    groups_by_length: bool
    seed: int

    def epoch(self, number: int) -> list[list[int]]:
        order = epoch_order(self.repeats, np.random.default_rng([self.seed, number]))
        if self.groups_by_length:
            return length_groups([len(row) for row in self.rows], order, self.batch_size, [self.seed, number])
        return in_batches(order.tolist(), self.batch_size)

    def in_order(self) -> list[list[int]]:
        order = sorted(range(len(self.rows)), key=lambda index: len(self.rows[index]))
        return in_batches(order, self.batch_size)

    def collate(self, batch: Sequence[int]) -> Batch:
        rows = [self.rows[index] for index in batch]
        return {
            "input_ids": right_padded(rows, self.pad_id),
            "attention_mask": attention_mask(rows),
            "labels": torch.tensor([self.labels[index] for index in batch]),
        }


@dataclass(frozen=True)
class Classification:
    training: LabelledSequences
    validation: LabelledSequences | None
    labels: LabelSet

    def num_items(self, batch: Batch) -> int:
        return len(batch["labels"])

    def num_tokens(self, batch: Batch) -> int:
        return int(batch["attention_mask"].sum())

    def loss(self, model: Any, batch: Batch) -> Tensor:
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        return functional.cross_entropy(logits.float(), batch["labels"], reduction="sum")

    def sums(self, model: Any, batch: Batch) -> Tensor:
        """The loss, then the confusion matrix row by row."""
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.float()
        loss = functional.cross_entropy(logits, batch["labels"], reduction="sum").double().cpu()
        size = len(self.labels.names)
        places = batch["labels"] * size + logits.argmax(dim=-1)
        return torch.cat([loss[None], torch.bincount(places.cpu(), minlength=size * size).double()])

    def metrics(self, sums: Sequence[float]) -> dict[str, Any]:
        """`confusion_matrix[i][j]` counts examples of class i that were taken for class j."""
        size = len(self.labels.names)
        matrix = np.asarray(sums[1:]).reshape(size, size).astype(np.int64)
        return {
            "loss": sums[0] / matrix.sum(),
            "accuracy": float(np.trace(matrix) / matrix.sum()),
            "macro_f1": macro_f1(matrix),
            "confusion_matrix": matrix.tolist(),
            "labels": list(self.labels.names),
        }


def macro_f1(matrix: np.ndarray) -> float:
    """Mean F1 of the classes that occur, as label or as prediction, from a confusion matrix (truth, prediction)."""
    hits = np.diag(matrix).astype(np.float64)
    total = matrix.sum(axis=0) + matrix.sum(axis=1)
    occurs = total > 0
    return float((2 * hits[occurs] / total[occurs]).mean())


def encode_labelled(
    sources: Sequence[SourceDocuments], encoder: Encoder, labels: LabelSet, max_length: int
) -> tuple[list[np.ndarray], list[int], list[float], int]:
    """Rows, labels, repeats, and how many rows were cut to `max_length`. Raises CorpusError."""
    rows: list[np.ndarray] = []
    numbers: list[int] = []
    repeats: list[float] = []
    problems: list[str] = []
    num_cut = 0
    for entry in sources:
        for index, document in enumerate(entry.documents):
            number = None if document.label is None else labels.number(document.label)
            if number is None:
                problems.append(f"{entry.place(index)}: label {document.label!r:.40} is none of the training classes")
                continue
            try:
                ids = encoder.ids(document)
            except BadRowError as error:
                problems.append(f"{entry.place(index)}: {error}")
                continue
            num_cut += len(ids) > max_length
            rows.append(ids[:max_length])
            numbers.append(number)
            repeats.append(entry.source.repeats)
    if problems:
        raise CorpusError(problems)
    return rows, numbers, repeats, num_cut
