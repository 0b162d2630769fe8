"""Windows: how a text longer than the model's context is read so that each token is scored once."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of one text: its targets are `token_ids[1:]`, of which the first `num_context` are not scored."""

    token_ids: np.ndarray  # (T + 1,)
    num_context: int

    @property
    def num_inputs(self) -> int:
        return len(self.token_ids) - 1


def windows(token_ids: np.ndarray, size: int, *, stride: int | None = None, first_scored: int = 1) -> Iterator[Window]:
    """Windows of at most `size` inputs over one text, `stride` (default: half the size) apart.

    Together they score each token from index `first_scored` on exactly once, each with at least `size - stride`
    tokens before it where the text has them. A token at index 0 has nothing before it and can't be scored.
    """
    num_inputs = len(token_ids) - 1
    stride = max(size // 2, 1) if stride is None else stride
    num_done = max(first_scored, 1) - 1  # targets that need no score, or have theirs
    for start in range(0, num_inputs, stride):
        end = min(start + size, num_inputs)
        if end > num_done:
            yield Window(token_ids[start : end + 1], num_done - start)
            num_done = end
        if end == num_inputs:
            return
