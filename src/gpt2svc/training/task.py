"""Task: what a run learns. The Trainer subclass asks it for batches, for a loss that sums, and for measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

Batch = Mapping[str, Any]  # tensors for the model's forward, and what else the task keeps with them


class Batches(Protocol):
    """The batches of an epoch, as descriptions that `collate` turns into tensors when their turn comes."""

    def epoch(self, number: int) -> Sequence[Any]: ...

    def in_order(self) -> Sequence[Any]: ...

    def collate(self, batch: Any) -> Batch: ...


class Task(Protocol):
    @property
    def training(self) -> Batches: ...

    @property
    def validation(self) -> Batches | None: ...

    def num_items(self, batch: Batch) -> int:
        """What the loss is averaged over: target tokens, or examples."""
        ...

    def num_tokens(self, batch: Batch) -> int:
        """Tokens that the model reads, padding aside."""
        ...

    def loss(self, model: Any, batch: Batch) -> Tensor:
        """Summed over the items, with gradient. `model` may be wrapped: only its forward may be called."""
        ...

    def sums(self, model: Any, batch: Batch) -> Tensor:
        """(K,) float64 numbers that add up over the batches of a validation; no gradient."""
        ...

    def metrics(self, sums: Sequence[float]) -> dict[str, Any]:
        """Of the total of `sums`: `loss` is what decides which model is the best."""
        ...


def epoch_order(repeats: Sequence[float] | np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The items that an epoch visits, shuffled: 2.5 repeats are two visits, and a third one for a random half."""
    repeats = np.asarray(repeats)
    whole = np.floor(repeats)
    is_extra = generator.random(len(repeats)) < repeats - whole
    order = np.repeat(np.arange(len(repeats)), (whole + is_extra).astype(np.int64))
    generator.shuffle(order)
    return order


def in_batches(order: Sequence[int], size: int) -> list[list[int]]:
    return [list(order[start : start + size]) for start in range(0, len(order), size)]


def length_groups(lengths: Sequence[int], order: np.ndarray, batch_size: int, seed: Sequence[int]) -> list[list[int]]:
    """`order` in batches of items of like length: sorted within stretches of 50 batches, the batches then shuffled."""
    batches: list[list[int]] = []
    stretch = 50 * batch_size
    for start in range(0, len(order), stretch):
        members = sorted(order[start : start + stretch].tolist(), key=lambda index: -lengths[index])
        batches += in_batches(members, batch_size)
    shuffled = np.random.default_rng([*seed, 1]).permutation(len(batches))
    return [batches[index] for index in shuffled]


def right_padded(rows: Sequence[np.ndarray], padding: int) -> Tensor:
    """(B, longest) int64. GPT's positions are absolute, so padding comes after the text, never before it."""
    result = np.full((len(rows), max(len(row) for row in rows)), padding, dtype=np.int64)
    for index, row in enumerate(rows):
        result[index, : len(row)] = row
    return torch.from_numpy(result)


def attention_mask(rows: Sequence[np.ndarray]) -> Tensor:
    """(B, longest) int64: 1 where a row is, by its length and not by its ids, so that an end marker is never masked."""
    return right_padded([np.ones(len(row), dtype=np.int64) for row in rows], 0)
