"""From logits to one token a row, each row by settings of its own."""

from collections.abc import Sequence as Many
from typing import Final

import torch
from torch import Tensor

from gpt2svc.engine.sampling_batch import SampledToken, SamplingBatch
from gpt2svc.engine.sequence import Sequence
from gpt2svc.engine.token_history import TokenHistory

# Of a step that verifies drafts ever fewer sequences are sampled, in batches that come again in the next one.
_MAX_BATCHES: Final = 16


class Sampler:
    """Keeps what depends only on who is in the batch from one step to the next."""

    def __init__(self, num_slots: int, n_positions: int, vocab_size: int, device: torch.device) -> None:
        self._device = device
        self._vocab_size = vocab_size
        self._history = TokenHistory(num_slots, n_positions, vocab_size, device)
        self._batches: dict[tuple[Sequence, ...], SamplingBatch] = {}

    @torch.inference_mode()
    def sample(self, logits: Tensor, sequences: Many[Sequence]) -> list[SampledToken]:
        """The next token of each sequence: logits (rows, vocab_size), which may be overwritten, in the same order.

        The caller appends what it accepts to the sequences: all of them, or the ones that go on.
        """
        key = tuple(sequences)
        batch = self._batches.get(key)
        if batch is None:
            if len(self._batches) >= _MAX_BATCHES:
                self._batches.clear()
            batch = SamplingBatch(list(sequences), self._vocab_size, self._history, self._device)
            self._batches[key] = batch
        return batch.sample(logits)

    def forget(self, sequence: Sequence) -> None:
        """The sequence has ended; called while it still has its slot."""
        self._history.forget(sequence.slot)
        self._batches.clear()
