"""StepRows: the rows of one forward pass as the arrays that csrc/forward.h reads."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gpt2svc.errors import EngineError
from gpt2svc.models.chunk import Chunk
from gpt2svc.models.native.structures import BatchStruct

_MAX_QUERIES: Final = 4


class StepRows:
    """Row by row, chunk after chunk. Holds what a BatchStruct points to."""

    def __init__(self, chunks: Sequence[Chunk], *, has_logits: bool) -> None:
        """Raises EngineError for chunks that ask for more rows than they have, that share a slot, or whose numbers
        don't fit 32 bits; the numbers' limits are checked in C, where a step begins."""
        token_ids: list[int] = []
        slots: list[int] = []
        places: list[int] = []
        queries: list[tuple[int, int, int, int]] = []
        logit_rows: list[int] = []
        hidden_rows: list[int] = []
        for chunk in chunks:
            first, count = len(token_ids), len(chunk.token_ids)
            if not (0 <= chunk.num_logits <= count and 0 <= chunk.num_pooled <= count):
                raise EngineError(
                    f"The chunk in slot {chunk.slot} has {count} tokens, but is asked for {chunk.num_logits} rows of "
                    f"logits and {chunk.num_pooled} of hidden states."
                )
            token_ids.extend(chunk.token_ids)
            slots.extend([chunk.slot] * count)
            places.extend(range(chunk.start, chunk.start + count))
            for i in range(0, count, _MAX_QUERIES):
                queries.append((chunk.slot, chunk.start + i, first + i, min(_MAX_QUERIES, count - i)))
            end = first + count
            logit_rows.extend(range(end - chunk.num_logits, end))
            hidden_rows.extend(range(end - chunk.num_pooled, end))
        if len({chunk.slot for chunk in chunks}) != len(chunks):
            raise EngineError("Two chunks of a step are in the same cache slot: the limit is one.")
        self.num_rows, self.num_queries = len(token_ids), len(queries)
        self.num_logits, self.num_hidden = len(logit_rows) if has_logits else 0, len(hidden_rows)
        self._arrays = (
            _int32("token id", token_ids),
            _int32("cache slot", slots),
            _int32("position", places),
            _int32("position", queries),
            _int32("row", logit_rows),
            _int32("row", hidden_rows),
        )

    def struct(self, logits: Tensor, hidden: Tensor) -> BatchStruct:
        """For results into (num_logits, vocab_size) and (num_hidden, n_embd), both float32 and contiguous."""
        return BatchStruct(
            self.num_rows,
            self.num_queries,
            self.num_logits,
            self.num_hidden,
            *(array.ctypes.data for array in self._arrays),
            logits.data_ptr(),
            hidden.data_ptr(),
        )


def _int32(name: str, values: Sequence[object]) -> NDArray[np.int32]:
    try:
        return np.array(values, dtype=np.int32)
    except OverflowError as error:
        raise EngineError(f"A step's {name} does not fit 32 bits.") from error
