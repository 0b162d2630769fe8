"""Text as token ids for a language model: one flat array, cut into documents; and the split into two parts."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gpt2svc.errors import InvalidInputError
from gpt2svc.training.documents import CorpusError, SourceDocuments
from gpt2svc.training.encoder import Encoder
from gpt2svc.training.rows import BadRowError
from gpt2svc.training.transcript import TURN_SEPARATOR


@dataclass(frozen=True)
class EncodedCorpus:
    """`tokens[:, starts[i]:starts[i + 1]]` is document i with its end marker: ids above, targets below."""

    tokens: np.ndarray  # (2, N) int32
    starts: np.ndarray  # (D + 1,) int64
    repeats: np.ndarray  # (D,) float64
    is_conversation: np.ndarray  # (D,) bool
    separator_ids: tuple[int, ...]
    has_end: bool
    num_bytes: int  # UTF-8, of the text that is learned; 0 for token sequences

    @property
    def num_documents(self) -> int:
        return len(self.repeats)

    @property
    def num_tokens(self) -> int:
        return int(self.tokens.shape[1])

    def document(self, index: int) -> np.ndarray:
        return self.tokens[:, self.starts[index] : self.starts[index + 1]]


def split_documents(
    sources: Sequence[SourceDocuments], share: float, seed: int
) -> tuple[list[SourceDocuments], list[SourceDocuments]]:
    """Training and validation parts. Which rows are held out depends on the seed and their place only.

    Raises InvalidInputError where there are too few rows to hold one out.
    """
    training, validation = [], []
    for number, entry in enumerate(sources):
        held_out: set[int] = set()
        if entry.source.is_validated and share > 0 and len(entry.documents) > 1:
            count = min(len(entry.documents) - 1, max(1, round(share * len(entry.documents))))
            generator = random.Random(f"{seed}:{number}:split")  # noqa: S311 - reproducible, not secret
            held_out = set(generator.sample(range(len(entry.documents)), count))
        training.append(_part(entry, [index for index in range(len(entry.documents)) if index not in held_out]))
        if held_out:
            validation.append(_part(entry, sorted(held_out)))
    if share > 0 and not validation:
        raise InvalidInputError(
            "The data has one row, and validation needs another: add rows, name a --validation-data FILE, or train "
            "without validation by --validation-split 0.",
            field="data",
        )
    return training, validation


def _part(entry: SourceDocuments, kept: Sequence[int]) -> SourceDocuments:
    documents = tuple(entry.documents[index] for index in kept)
    return replace(entry, documents=documents, lines=tuple(entry.lines[index] for index in kept))


def vocabulary_texts(sources: Sequence[SourceDocuments]) -> Iterator[str]:
    """What a vocabulary is learned from: the training mix, each document as often as an epoch visits it."""
    for entry in sources:
        for _ in range(max(1, round(entry.source.repeats))):
            for document in entry.documents:
                yield document.text


def encode_corpus(sources: Sequence[SourceDocuments], encoder: Encoder, *, replies_only: bool) -> EncodedCorpus:
    """Raises CorpusError with rows that the vocabulary doesn't cover, InvalidInputError where nothing is learned."""
    pieces: list[np.ndarray] = []
    repeats: list[float] = []
    conversations: list[bool] = []
    problems: list[str] = []
    num_bytes = 0
    end = np.full((2, 1), 0 if encoder.end_id is None else encoder.end_id, dtype=np.int32)
    for entry in sources:
        for index, document in enumerate(entry.documents):
            try:
                encoded = encoder.with_targets(document, replies_only=replies_only)
            except BadRowError as error:
                problems.append(f"{entry.place(index)}: {error}")
                continue
            if encoder.end_id is not None:
                last = end if encoder.ends_document(document) else np.array([[encoder.end_id], [-100]], np.int32)
                encoded = np.concatenate([encoded, last], axis=1)
            pieces.append(encoded)
            repeats.append(entry.source.repeats)
            conversations.append(document.is_conversation)
            num_bytes += encoder.num_learned_bytes(document, replies_only=replies_only)
    if problems:
        raise CorpusError(problems)
    starts = np.zeros(len(pieces) + 1, dtype=np.int64)
    np.cumsum([piece.shape[1] for piece in pieces], out=starts[1:])
    corpus = EncodedCorpus(
        tokens=np.concatenate(pieces, axis=1),
        starts=starts,
        repeats=np.asarray(repeats, dtype=np.float64),
        is_conversation=np.asarray(conversations, dtype=bool),
        separator_ids=tuple(encoder.tokenizer.encode(TURN_SEPARATOR)) if any(conversations) else (),
        has_end=encoder.end_id is not None,
        num_bytes=num_bytes,
    )
    if not any((corpus.document(index)[1, 1:] >= 0).any() for index in range(corpus.num_documents)):
        raise InvalidInputError(
            "The data has no token to learn: every row is one token long, or every reply has weight 0.", field="data"
        )
    return corpus
