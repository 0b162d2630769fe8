"""The tokens of running sequences as tensors, for the logits processors that look back."""

from collections.abc import Sequence as Many

import torch
from torch import Tensor

from gpt2svc.engine.sequence import NO_SLOT, Sequence


class TokenHistory:
    """One row a slot: prompt and reply, padded with the sequence's first token; and how often each token was replied.

    Padding by a token that is there anyway lets processors gather and scatter whole rows without a mask.
    """

    def __init__(self, num_slots: int, n_positions: int, vocab_size: int, device: torch.device) -> None:
        self._device = device
        self._vocab_size = vocab_size
        self._token_ids = torch.zeros((num_slots, n_positions), dtype=torch.int64, device=device)
        self._counts: Tensor | None = None  # made when the first sequence asks: (num_slots, vocab_size) float32
        self._owners: list[Sequence | None] = [None] * num_slots
        self._lengths = [0] * num_slots

    def follow(self, sequence: Sequence, *, is_counted: bool) -> None:
        """Bring the row of a sequence's slot up to date."""
        slot, length = sequence.slot, len(sequence.token_ids)
        if self._owners[slot] is sequence:
            new = sequence.token_ids[self._lengths[slot] :]
            if not new:
                return
            self._token_ids[slot, length - len(new) : length] = torch.tensor(new, device=self._device)
        else:
            new = sequence.token_ids[sequence.num_prompt_tokens :]
            self._token_ids[slot] = sequence.token_ids[0]
            self._token_ids[slot, :length] = torch.tensor(sequence.token_ids, device=self._device)
            self._owners[slot] = sequence
            if is_counted:
                self._counts_tensor()[slot] = 0
        self._lengths[slot] = length
        if is_counted and new:
            ids = torch.tensor(new, device=self._device)
            self._counts_tensor()[slot].index_add_(0, ids, torch.ones(len(new), device=self._device))

    def append(
        self, sequences: Many[Sequence], slots: Tensor, lengths: Tensor, token_ids: Tensor, *, is_counted: bool
    ) -> None:
        """Each of these sequences, followed up to `lengths`, gets one more token: all tensors (rows,)."""
        self._token_ids[slots, lengths] = token_ids
        if is_counted:
            self._counts_tensor()[slots, token_ids] += 1
        for sequence in sequences:
            self._lengths[sequence.slot] += 1

    def token_ids(self, slots: Tensor, max_length: int) -> Tensor:
        """(rows, max_length)"""
        return self._token_ids[slots, :max_length]

    def counts(self, slots: Tensor, token_ids: Tensor) -> Tensor:
        """How often the reply in each slot has the tokens: slots (rows,), token_ids (rows, n) to (rows, n) float32."""
        return self._counts_tensor()[slots.unsqueeze(1), token_ids]

    def forget(self, slot: int) -> None:
        """The slot's sequence has ended."""
        if slot != NO_SLOT:
            self._owners[slot] = None

    def _counts_tensor(self) -> Tensor:
        if self._counts is None:
            self._counts = torch.zeros((len(self._owners), self._vocab_size), device=self._device)
        return self._counts
