"""Encoder: documents to token ids with a model's vocabulary, and which of them are learned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gpt2svc.models.tokenizer import Tokenizer
from gpt2svc.training.chunked_loss import IGNORED_TARGET
from gpt2svc.training.rows import BadRowError, Document


@dataclass(frozen=True)
class Encoder:
    """`vocab_size` is the model's; `end_id` closes each document where the vocabulary has such a token."""

    tokenizer: Tokenizer
    vocab_size: int
    end_id: int | None
    pad_id: int
    spellings: Mapping[str, int]  # of every token, for rows that hold tokens

    def with_targets(self, document: Document, *, replies_only: bool, is_prompt: bool = False) -> np.ndarray:
        """Token ids and targets (2, T) int32: a target is the token itself where it is learned, else IGNORED_TARGET.

        The end marker is not in it. Of a row with choices only the prompt can be had. Raises BadRowError where the
        vocabulary doesn't cover the row's tokens.
        """
        if document.choices and not is_prompt:
            raise BadRowError('rows with "choices" are for --task multiple-choice')
        if document.tokens:
            ids = self._known(document)
            return np.stack([ids, ids])
        parts = []
        for segment in document.segments:
            ids = np.asarray(self.tokenizer.encode(segment.text), dtype=np.int32)
            is_learned = segment.weight != 0 and (segment.is_reply or not replies_only)
            parts.append(np.stack([ids, ids if is_learned else np.full_like(ids, IGNORED_TARGET)]))
        encoded = np.concatenate(parts, axis=1)
        if not encoded.shape[1]:
            raise BadRowError("the vocabulary has no token for any of its text")
        return encoded

    def ids(self, document: Document, *, is_prompt: bool = False) -> np.ndarray:
        """Token ids (T,) int32 of the whole document. Raises BadRowError as `with_targets`."""
        encoded: np.ndarray = self.with_targets(document, replies_only=False, is_prompt=is_prompt)[0]
        return encoded

    def ends_document(self, document: Document) -> bool:
        """Whether the end marker after it is learned: not where its last reply has weight 0."""
        return bool(document.tokens) or document.segments[-1].weight != 0

    def num_learned_bytes(self, document: Document, *, replies_only: bool) -> int:
        return sum(
            len(segment.text.encode("utf-8"))
            for segment in document.segments
            if segment.weight != 0 and (segment.is_reply or not replies_only)
        )

    def _known(self, document: Document) -> np.ndarray:
        ids = np.empty(len(document.tokens), dtype=np.int32)
        for place, token in enumerate(document.tokens):
            number = self.spellings.get(token) if isinstance(token, str) else token
            if number is None:
                raise BadRowError(f"token {place} is {token!r:.40}, which the vocabulary doesn't have")
            if number >= self.vocab_size:
                raise BadRowError(
                    f"token {place} is {number}, but the vocabulary's ids end at {self.vocab_size - 1}: "
                    "name the vocabulary that the data was made with"
                )
            ids[place] = number
        return ids
