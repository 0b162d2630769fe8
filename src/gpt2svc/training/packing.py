"""Packing: which documents are trained on when. An epoch is a pure function of the corpus, the seed and its number.

A packed batch is a stream of whole documents that never see each other; each starts at position 0, as a prompt does
when the model is served. Documents longer than `max_length` are cut into pieces of that length. A share of the
conversations goes straight on with another conversation, without an end marker, so that late positions and changes of
topic are learned as they happen in a long chat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gpt2svc.training.encoded_corpus import EncodedCorpus
from gpt2svc.training.task import epoch_order

Piece = np.ndarray  # (2, L + 1) int32: L tokens that are read, and those that follow them


@dataclass(frozen=True)
class PieceOrder:
    """The pieces of an epoch, in the order in which they are seen."""

    corpus: EncodedCorpus
    max_length: int
    join_share: float
    seed: int

    def shuffled(self, epoch: int) -> list[Piece]:
        generator = np.random.default_rng([self.seed, epoch])
        order = epoch_order(self.corpus.repeats, generator)
        is_joined = generator.random(len(order)) < self.join_share
        return self._pieces(order, is_joined)

    def in_order(self) -> list[Piece]:
        """Every document once: how validation reads."""
        order = np.arange(self.corpus.num_documents)
        return self._pieces(order, np.zeros(len(order), dtype=bool))

    def _pieces(self, order: np.ndarray, is_joined: np.ndarray) -> list[Piece]:
        corpus = self.corpus
        separator = np.tile(np.asarray(corpus.separator_ids, dtype=np.int32), (2, 1))
        pieces: list[Piece] = []
        parts: list[np.ndarray] = []  # conversations that wait for the next one; the last has its end marker
        for index, joins in zip(order, is_joined, strict=True):
            document = corpus.document(index)
            if parts:
                fits = sum(part.shape[1] for part in parts) + separator.shape[1] + document.shape[1] <= self.max_length
                if corpus.is_conversation[index] and fits:
                    last = parts.pop()
                    parts += [last[:, :-1] if corpus.has_end else last, separator, document]
                    if not joins:
                        pieces += self._cut(np.concatenate(parts, axis=1))
                        parts = []
                    continue
                pieces += self._cut(np.concatenate(parts, axis=1))
                parts = []
            if joins and corpus.is_conversation[index]:
                parts = [document]
            else:
                pieces += self._cut(document)
        if parts:
            pieces += self._cut(np.concatenate(parts, axis=1))
        return pieces

    def _cut(self, document: np.ndarray) -> list[Piece]:
        """Pieces of at most max_length + 1 tokens that overlap by one: each token but the first is a target once."""
        starts = range(0, document.shape[1] - 1, self.max_length)
        cut = [document[:, start : start + self.max_length + 1] for start in starts]
        return [piece for piece in cut if (piece[1, 1:] >= 0).any()]


@dataclass(frozen=True)
class PackedBatches:
    """Streams of pieces: as many as fit `tokens_per_batch`, or `pieces_per_batch` of them where that is set."""

    order: PieceOrder
    tokens_per_batch: int
    pieces_per_batch: int | None = None

    def epoch(self, number: int) -> list[Sequence[Piece]]:
        return self._fill(self.order.shuffled(number))

    def in_order(self) -> list[Sequence[Piece]]:
        return self._fill(self.order.in_order())

    def collate(self, batch: Sequence[Piece]) -> dict[str, Any]:
        """A stream of T tokens with a batch axis: input_ids, position_ids and the targets `shift_labels`, each (1, T),
        and the `lengths` of the documents, which sum to T."""
        lengths = [piece.shape[1] - 1 for piece in batch]
        ids = np.concatenate([piece[0, :-1] for piece in batch]).astype(np.int64)
        targets = np.concatenate([piece[1, 1:] for piece in batch]).astype(np.int64)
        positions = np.concatenate([np.arange(length) for length in lengths])
        return {
            "input_ids": torch.from_numpy(ids)[None],
            "position_ids": torch.from_numpy(positions)[None],
            "shift_labels": torch.from_numpy(targets)[None],
            "lengths": tuple(lengths),
        }

    def _fill(self, pieces: Sequence[Piece]) -> list[Sequence[Piece]]:
        if self.pieces_per_batch is not None:
            count = self.pieces_per_batch
            return [pieces[start : start + count] for start in range(0, len(pieces), count)]
        batches: list[Sequence[Piece]] = []
        current: list[Piece] = []
        num_tokens = 0
        for piece in pieces:
            length = piece.shape[1] - 1
            if current and num_tokens + length > self.tokens_per_batch:
                batches.append(tuple(current))
                current, num_tokens = [], 0
            current.append(piece)
            num_tokens += length
        if current:
            batches.append(tuple(current))
        return batches
