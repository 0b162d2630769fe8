"""The training text as token ids: one flat array, cut into documents, split into training and validation."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from gpt2svc.errors import InvalidInputError
from gpt2svc.training.documents import SourceDocuments
from gpt2svc.training.transcript import END_OF_TEXT, TURN_SEPARATOR

ENCODE_BATCH = 1024


@dataclass(frozen=True)
class EncodedCorpus:
    """`token_ids[starts[i]:starts[i + 1]]` is document i, without its end marker."""

    token_ids: np.ndarray  # (N,) int32
    starts: np.ndarray  # (D + 1,) int64
    repeats: np.ndarray  # (D,) float64
    is_conversation: np.ndarray  # (D,) bool
    end_id: int
    separator_ids: tuple[int, ...]
    num_bytes: int  # UTF-8, of the text without markers

    @property
    def num_documents(self) -> int:
        return len(self.repeats)

    def document(self, index: int) -> np.ndarray:
        return self.token_ids[self.starts[index] : self.starts[index + 1]]


def split_documents(
    sources: Sequence[SourceDocuments], share: float, seed: int
) -> tuple[list[SourceDocuments], list[SourceDocuments]]:
    """Training and validation parts. Which rows are held out depends on the seed and their place only."""
    training, validation = [], []
    for number, entry in enumerate(sources):
        held_out: set[int] = set()
        if entry.source.is_validated and share > 0 and len(entry.documents) > 1:
            count = min(len(entry.documents) - 1, max(1, round(share * len(entry.documents))))
            generator = random.Random(f"{seed}:{number}:split")  # noqa: S311 - reproducible, not secret
            held_out = set(generator.sample(range(len(entry.documents)), count))
        kept = tuple(document for index, document in enumerate(entry.documents) if index not in held_out)
        out = tuple(document for index, document in enumerate(entry.documents) if index in held_out)
        training.append(SourceDocuments(entry.source, kept, entry.digest, entry.num_excluded))
        if out:
            validation.append(SourceDocuments(entry.source, out, entry.digest, entry.num_excluded))
    return training, validation


def vocabulary_texts(sources: Sequence[SourceDocuments]) -> Iterator[str]:
    """What the vocabulary is learned from: the training mix, each document as often as an epoch visits it."""
    for entry in sources:
        for _ in range(max(1, round(entry.source.repeats))):
            for document in entry.documents:
                yield document.text


def encode_corpus(sources: Sequence[SourceDocuments], tokenizer: Tokenizer) -> EncodedCorpus:
    """Raises InvalidInputError where the vocabulary has no end marker."""
    end_id = tokenizer.token_to_id(END_OF_TEXT)
    if end_id is None:
        raise InvalidInputError(f"The vocabulary has no {END_OF_TEXT} token.", field="model")
    pieces: list[np.ndarray] = []
    repeats: list[float] = []
    conversations: list[bool] = []
    num_bytes = 0
    for entry in sources:
        for first in range(0, len(entry.documents), ENCODE_BATCH):
            batch = entry.documents[first : first + ENCODE_BATCH]
            encodings = tokenizer.encode_batch_fast([item.text for item in batch], add_special_tokens=False)
            for item, encoding in zip(batch, encodings, strict=True):
                pieces.append(np.asarray(encoding.ids, dtype=np.int32))
                repeats.append(entry.source.repeats)
                conversations.append(item.is_conversation)
                num_bytes += len(item.text.encode("utf-8"))
    starts = np.zeros(len(pieces) + 1, dtype=np.int64)
    np.cumsum([len(piece) for piece in pieces], out=starts[1:])
    return EncodedCorpus(
        token_ids=np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.int32),
        starts=starts,
        repeats=np.asarray(repeats, dtype=np.float64),
        is_conversation=np.asarray(conversations, dtype=bool),
        end_id=end_id,
        separator_ids=tuple(tokenizer.encode(TURN_SEPARATOR, add_special_tokens=False).ids),
        num_bytes=num_bytes,
    )
