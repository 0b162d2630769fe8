"""What one call of a model computes for one sequence. Torch-free."""

from collections.abc import Sequence
from typing import NamedTuple


class Chunk(NamedTuple):
    """The next rows of one sequence: its tokens from position `start` on, written to `slot` of the KV cache.

    The slot must already hold the sequence's positions before `start`.
    """

    slot: int
    start: int
    token_ids: Sequence[int]  # one of a decoding sequence, up to the step's budget of a prompt
    is_sampled: bool  # the logits after the chunk's last row are wanted
    num_scored: int = 0  # and those after so many of its last rows, that one included
    num_pooled: int = 0  # of so many of its last rows the last hidden states are wanted

    @property
    def num_logits(self) -> int:
        """How many rows of logits the chunk brings."""
        return max(self.num_scored, int(self.is_sampled))
