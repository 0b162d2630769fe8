"""Language modelling: GPT-2 over packed streams, other models over right-padded batches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gpt2svc.training.chunked_loss import IGNORED_TARGET, PIECE_TOKENS
from gpt2svc.training.packed_model import PackedGpt2
from gpt2svc.training.packing import PackedBatches, Piece, PieceOrder
from gpt2svc.training.task import Batch, attention_mask, length_groups, right_padded


@dataclass(frozen=True)
class PaddedBatches:
    """`batch_size` pieces a batch, padded on the right; the targets of padding are -100."""

    order: PieceOrder
    batch_size: int
    pad_id: int
    groups_by_length: bool

    def epoch(self, number: int) -> list[Sequence[Piece]]:
        pieces = self.order.shuffled(number)
        if not self.groups_by_length:
            return self._cut(pieces)
        lengths = [piece.shape[1] for piece in pieces]
        groups = length_groups(lengths, np.arange(len(pieces)), self.batch_size, [self.order.seed, number])
        return [[pieces[index] for index in group] for group in groups]

    def in_order(self) -> list[Sequence[Piece]]:
        return self._cut(self.order.in_order())

    def collate(self, batch: Sequence[Piece]) -> Batch:
        rows = [piece[0, :-1] for piece in batch]
        return {
            "input_ids": right_padded(rows, self.pad_id),
            "attention_mask": attention_mask(rows),
            "shift_labels": right_padded([piece[1, 1:] for piece in batch], IGNORED_TARGET),
        }

    def _cut(self, pieces: Sequence[Piece]) -> list[Sequence[Piece]]:
        return [pieces[start : start + self.batch_size] for start in range(0, len(pieces), self.batch_size)]


@dataclass(frozen=True)
class LanguageModelling:
    """Mean negative log-likelihood a target token; every token of every batch weighs the same."""

    training: PackedBatches | PaddedBatches
    validation: PackedBatches | PaddedBatches | None
    validation_bytes: int = 0  # of the learned text, for bits per byte; 0 where there is no text

    def num_items(self, batch: Batch) -> int:
        return int((batch["shift_labels"] != IGNORED_TARGET).sum())

    def num_tokens(self, batch: Batch) -> int:
        mask = batch.get("attention_mask")
        return int(batch["input_ids"].numel() if mask is None else mask.sum())

    def loss(self, model: Any, batch: Batch) -> Tensor:
        if "lengths" in batch:
            return cast(Tensor, model(**batch))
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        return functional.cross_entropy(
            logits.flatten(0, 1).float(), batch["shift_labels"].flatten(), ignore_index=IGNORED_TARGET, reduction="sum"
        )

    def sums(self, model: Any, batch: Batch) -> Tensor:
        """Negative log-likelihood, target tokens, and targets that were the model's first choice."""
        if isinstance(model, PackedGpt2):
            hidden = model.hidden_states(batch["input_ids"], batch["position_ids"], batch["lengths"])
            head = model.lm_head.weight.to(hidden.dtype)
        else:
            hidden = model.transformer(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])[0]
            head = model.lm_head.weight
        rows, targets = hidden.flatten(0, 1), batch["shift_labels"].flatten()
        total = torch.zeros(3, dtype=torch.float64)
        for start in range(0, len(targets), PIECE_TOKENS):
            wanted = targets[start : start + PIECE_TOKENS]
            is_counted = wanted != IGNORED_TARGET
            logits = functional.linear(rows[start : start + PIECE_TOKENS][is_counted], head).float()
            wanted = wanted[is_counted]
            total[0] += functional.cross_entropy(logits, wanted, reduction="sum").item()
            total[1] += len(wanted)
            total[2] += (logits.argmax(dim=-1) == wanted).sum().item()
        return total

    def metrics(self, sums: Sequence[float]) -> dict[str, Any]:
        likelihood, count, hits = sums
        found = {
            "loss": likelihood / count,
            "perplexity": math.exp(min(likelihood / count, 700.0)),
            "accuracy": hits / count,
        }
        if self.validation_bytes:
            found["bits_per_byte"] = likelihood / math.log(2) / self.validation_bytes
        return found
