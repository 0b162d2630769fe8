"""BatchDataset: all batches of a run, epoch after epoch, as one sequence of known length.

The Trainer then sees a single epoch of ready-made batches: accumulation crosses epochs, epochs may differ in length,
and a resumed run skips exactly the batches that were seen.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from torch.utils.data import Dataset

from gpt2svc.training.task import Batch, Batches


class BatchDataset(Dataset[Batch]):
    """`num_epochs` of `batches`, of which the last may be a fraction; or exactly `num_batches`, however many epochs."""

    def __init__(self, batches: Batches, *, num_epochs: float, num_batches: int | None = None) -> None:
        self._batches = batches
        self._starts = [0]  # of each epoch; the last entry is the end
        self._epoch: tuple[int, Sequence[Any]] = (-1, ())
        wanted = math.ceil(num_epochs) if num_batches is None else None
        while (len(self._starts) <= wanted) if wanted is not None else (self._starts[-1] < (num_batches or 0)):
            self._starts.append(self._starts[-1] + len(batches.epoch(len(self._starts) - 1)))
        last = self._starts[-1] - self._starts[-2]
        share = num_epochs - math.floor(num_epochs)
        whole = self._starts[-2] + max(1, round(share * last)) if share else self._starts[-1]
        self._length = whole if num_batches is None else num_batches

    @property
    def epoch_length(self) -> int:
        """Batches of the first epoch."""
        return self._starts[1]

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Batch:
        number = bisect_right(self._starts, index) - 1
        if self._epoch[0] != number:
            self._epoch = (number, self._batches.epoch(number))
        return self._batches.collate(self._epoch[1][index - self._starts[number]])

    def epoch_at(self, index: int) -> float:
        """How many epochs are done before batch `index`."""
        number = min(bisect_right(self._starts, index) - 1, len(self._starts) - 2)
        return number + (index - self._starts[number]) / (self._starts[number + 1] - self._starts[number])
