"""One vector for a whole prompt, from the hidden states of its tokens, step by step."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gpt2svc.engine.scheduler import Scheduled
from gpt2svc.engine.sequence import Sequence
from gpt2svc.models.head_scorer import HeadScorer


class Pooler:
    """Holds the sums of prompts that are read in several steps.

    They are in float64 and grow token by token, in order: the same bits however a prompt was cut into chunks.
    """

    def __init__(self, head: HeadScorer | None) -> None:
        self._head = head
        self._sums: dict[str, NDArray[np.float64]] = {}

    def add(self, scheduled: list[Scheduled], hidden: Tensor) -> dict[str, bytes | None]:
        """Take in a step's hidden states (rows, n_embd), those of each item's `num_pooled` rows in turn.

        Returns, by request, the vectors that are now complete, as float32; None where one is not finite.
        """
        rows = hidden.double().cpu().numpy()
        pooled: dict[str, bytes | None] = {}
        end = 0
        for item in scheduled:
            first, end = end, end + item.num_pooled
            if first == end:
                continue
            request_id = item.sequence.request_id
            total = self._add_rows(request_id, rows[first:end])
            if item.is_sampled:
                del self._sums[request_id]
                pooled[request_id] = self._vector(item.sequence, total / item.num_pooled_in_all)
        return pooled

    def forget(self, sequence: Sequence) -> None:
        """The sequence has ended, perhaps before its time."""
        self._sums.pop(sequence.request_id, None)

    def _vector(self, sequence: Sequence, hidden: NDArray[np.float64]) -> bytes | None:
        pooling = sequence.request.pooling
        if self._head is not None and pooling is not None and pooling.has_head:
            hidden = self._head(hidden)
        return _float32(hidden)

    def _add_rows(self, request_id: str, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        so_far = self._sums.get(request_id)
        # NOTE: `sum` may add in another order for another number of rows; `accumulate` is row after row.
        terms = rows if so_far is None else np.concatenate((so_far[None], rows))
        total: NDArray[np.float64] = np.add.accumulate(terms, axis=0)[-1]
        self._sums[request_id] = total
        return total


def _float32(vector: NDArray[np.float64]) -> bytes | None:
    with np.errstate(over="ignore"):  # too large becomes infinite, which is found below
        rounded = vector.astype("<f4")
    return rounded.tobytes() if np.isfinite(rounded).all() else None
