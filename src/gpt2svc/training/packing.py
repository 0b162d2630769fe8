"""Which documents are trained on when: an epoch is a pure function of the corpus, the seed and the epoch's number.

A batch is a stream of whole documents that never see each other; each starts at position 0, as a prompt does when the
model is served. Documents longer than `max_length` are cut into pieces of that length. A share of the conversations
goes straight on with another conversation, without an end marker, so that late positions and changes of topic are
learned as they happen in a long chat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gpt2svc.training.chunked_loss import IGNORED_TARGET
from gpt2svc.training.encoded_corpus import EncodedCorpus


@dataclass(frozen=True)
class PackedBatch:
    """A stream of T tokens; `lengths` of its documents sum to T."""

    token_ids: np.ndarray  # (T,) int64
    position_ids: np.ndarray  # (T,) int64
    targets: np.ndarray  # (T,) int64, the next token, IGNORED_TARGET at the end of a piece that goes on
    lengths: tuple[int, ...]
    num_targets: int


@dataclass(frozen=True)
class Packing:
    corpus: EncodedCorpus
    tokens_per_batch: int
    max_length: int
    join_share: float
    seed: int

    def epoch(self, number: int) -> list[tuple[np.ndarray, ...]]:
        """The batches of epoch `number`: tuples of documents with markers, at most max_length + 1 tokens each."""
        generator = np.random.default_rng([self.seed, number])
        whole = np.floor(self.corpus.repeats)
        is_extra = generator.random(self.corpus.num_documents) < self.corpus.repeats - whole
        order = np.repeat(np.arange(self.corpus.num_documents), (whole + is_extra).astype(np.int64))
        generator.shuffle(order)
        is_joined = generator.random(len(order)) < self.join_share
        return self._fill(self._pieces(order, is_joined))

    def in_order(self) -> list[tuple[np.ndarray, ...]]:
        """Every document once, in order: how validation reads."""
        order = np.arange(self.corpus.num_documents)
        return self._fill(self._pieces(order, np.zeros(len(order), dtype=bool)))

    def _pieces(self, order: np.ndarray, is_joined: np.ndarray) -> list[np.ndarray]:
        corpus = self.corpus
        separator = np.asarray(corpus.separator_ids, dtype=np.int32)
        end = np.asarray([corpus.end_id], dtype=np.int32)
        pieces: list[np.ndarray] = []
        open_parts: list[np.ndarray] = []
        for index, joins in zip(order, is_joined, strict=True):
            document = corpus.document(index)
            if open_parts:
                fits = sum(map(len, open_parts)) + len(separator) + len(document) <= self.max_length
                if corpus.is_conversation[index] and fits:
                    open_parts += [separator, document]
                    if not joins:
                        pieces += self._cut(np.concatenate([*open_parts, end]))
                        open_parts = []
                    continue
                pieces += self._cut(np.concatenate([*open_parts, end]))
                open_parts = []
            if joins and corpus.is_conversation[index]:
                open_parts = [document]
            else:
                pieces += self._cut(np.concatenate([document, end]))
        if open_parts:
            pieces += self._cut(np.concatenate([*open_parts, end]))
        return pieces

    def _cut(self, document: np.ndarray) -> list[np.ndarray]:
        """Pieces of at most max_length + 1 tokens that overlap by one: each token but the first is a target once."""
        last = len(document) - 1
        return [document[start : start + self.max_length + 1] for start in range(0, max(last, 1), self.max_length)]

    def _fill(self, pieces: Sequence[np.ndarray]) -> list[tuple[np.ndarray, ...]]:
        batches: list[tuple[np.ndarray, ...]] = []
        current: list[np.ndarray] = []
        num_tokens = 0
        for piece in pieces:
            if current and num_tokens + len(piece) - 1 > self.tokens_per_batch:
                batches.append(tuple(current))
                current, num_tokens = [], 0
            current.append(piece)
            num_tokens += len(piece) - 1
        if current:
            batches.append(tuple(current))
        return batches


def pack(pieces: Sequence[np.ndarray]) -> PackedBatch:
    """The stream of some pieces: inputs are all tokens but each piece's last, targets all but its first."""
    lengths = tuple(len(piece) - 1 for piece in pieces)
    targets = np.concatenate([piece[1:] for piece in pieces]).astype(np.int64)
    return PackedBatch(
        token_ids=np.concatenate([piece[:-1] for piece in pieces]).astype(np.int64),
        position_ids=np.concatenate([np.arange(length) for length in lengths]).astype(np.int64),
        targets=targets,
        lengths=lengths,
        num_targets=int((targets != IGNORED_TARGET).sum()),
    )
