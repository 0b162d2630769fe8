"""Attention of decode rows: one query a sequence, all sequences of a step together, over the slots of the KV cache."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import torch
from torch import Tensor

from gpt2svc.models.kv_store import KeyValueStore
from gpt2svc.models.scratch import Scratch

# Queries a matrix product: below four rows the kernels round in another way. Only the first row is used; the others
# hold whatever was there.
QUERY_ROWS: Final = 4

# Idle slots between two running ones are computed along where that costs less than the call it saves.
_GAP_BYTES: Final = 200_000


class _Run(NamedTuple):
    """Neighbouring slots whose keys of one block are multiplied in one call."""

    block: int
    first_slot: int
    end_slot: int
    first_lane: int


class DecodeAttention:
    """For a set of slots that need the same blocks: kept from step to step until one of them needs another block.

    `slots` ascend. A lane is a place in the buffers: that of each slot, and of idle ones between. Each block of keys
    is multiplied for the runs of slots that reach it, so a long sequence costs its own blocks and no one else's.
    """

    def __init__(self, store: KeyValueStore, slots: Sequence[int], num_blocks: Sequence[int], scratch: Scratch) -> None:
        self._store = store
        self._key = (store.capacity, slots, num_blocks)
        runs, lanes = _plan_runs(slots, num_blocks, max_gap=_GAP_BYTES // store.block_bytes)
        total, num_lanes, block = max(num_blocks), lanes[-1] + 1, store.block
        heads, head_dim, device, dtype = store.n_head, store.head_dim, store.device, store.dtype
        self._num_rows = len(slots)
        self._lanes = None if num_lanes == len(slots) else torch.tensor(lanes, device=device)
        queries = scratch.take("queries", (num_lanes, heads, QUERY_ROWS, head_dim), dtype)
        scores = scratch.take("scores", (total, num_lanes, heads, QUERY_ROWS, block), dtype)
        weights = scratch.take("weights", (total, num_lanes, heads, QUERY_ROWS, block), dtype)
        sums = scratch.take("sums", (num_lanes, heads, QUERY_ROWS, head_dim), dtype)
        self._masked = scratch.take("masked", (num_lanes, heads, total, block), dtype)
        self._softmaxed = scratch.take("softmaxed", (num_lanes, heads, total, block), dtype)
        self._masked_keys = self._masked.flatten(2)
        self._softmaxed_keys = self._softmaxed.flatten(2)
        self._query_row = queries[:, :, 0]  # (lanes, heads, head_dim)
        self._score_row = scores[:, :, :, 0].permute(1, 2, 0, 3)  # (lanes, heads, blocks, block)
        self._weight_row = weights[:, :, :, 0].permute(1, 2, 0, 3)
        self._sum_row = sums[:, :, 0]
        self._minus_infinity = torch.full((), -torch.inf, dtype=dtype, device=device)
        self._keys = torch.arange(total * block, device=device).view(1, 1, total, block)
        self._is_seen = torch.empty((num_lanes, 1, total, block), dtype=torch.bool, device=device)
        # An idle lane sees one key: a softmax over none would be NaN.
        self._lengths = torch.ones((num_lanes, 1, 1, 1), dtype=torch.int64, device=device)
        self._length_row = self._lengths.view(-1)
        self._products = []
        for run in runs:
            first, end = run.first_lane, run.first_lane + run.end_slot - run.first_slot
            self._products.append(
                (
                    store.block_views(run.block, run.first_slot, run.end_slot),
                    queries[first:end].flatten(0, 1),
                    scores[run.block, first:end].flatten(0, 1),
                    weights[run.block, first:end].flatten(0, 1),
                    sums[first:end].flatten(0, 1),
                    run.block == 0,
                )
            )

    def fits(self, store: KeyValueStore, slots: Sequence[int], num_blocks: Sequence[int]) -> bool:
        """Whether this is the attention for these."""
        return store is self._store and self._key == (store.capacity, slots, num_blocks)

    def set_lengths(self, lengths: Tensor) -> None:
        """Keys that each sequence sees in this step, its own new one included: (num_rows,)."""
        if self._lanes is None:
            self._length_row.copy_(lengths)
        else:
            self._length_row.index_copy_(0, self._lanes, lengths)
        torch.lt(self._keys, self._lengths, out=self._is_seen)

    def attend(self, layer: int, queries: Tensor, out: Tensor) -> None:
        """Queries (num_rows, n_head, head_dim), already scaled, to `out` of the same shape."""
        if self._lanes is None:
            self._query_row.copy_(queries)
        else:
            self._query_row.index_copy_(0, self._lanes, queries)
        for views, query, score, _, _, _ in self._products:
            torch.bmm(query, views[layer][0], out=score)
        torch.where(self._is_seen, self._score_row, self._minus_infinity, out=self._masked)
        torch.softmax(self._masked_keys, -1, out=self._softmaxed_keys)
        self._weight_row.copy_(self._softmaxed)
        for views, _, _, weight, total, is_first in self._products:
            if is_first:
                torch.bmm(weight, views[layer][1], out=total)
            else:
                total.baddbmm_(weight, views[layer][1])
        out.copy_(self._sum_row if self._lanes is None else self._sum_row[self._lanes])


def _plan_runs(slots: Sequence[int], num_blocks: Sequence[int], *, max_gap: int) -> tuple[list[_Run], list[int]]:
    """The runs, blocks ascending, and the lane of each slot."""
    lanes = [0]
    for before, slot in pairwise(slots):
        gap = slot - before - 1
        lanes.append(lanes[-1] + 1 + (gap if gap <= max_gap else 0))
    runs: list[_Run] = []
    for block in range(max(num_blocks)):
        for slot, lane, needed in zip(slots, lanes, num_blocks, strict=True):
            if needed <= block:
                continue
            last = runs[-1] if runs else None
            if last is not None and last.block == block and slot - last.end_slot <= max_gap:
                runs[-1] = last._replace(end_slot=slot + 1)
            else:
                runs.append(_Run(block, slot, slot + 1, lane))
    return runs, lanes
