"""Attention of decode rows: one query a sequence or a few, all sequences of a step together, over the KV cache."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import torch
from torch import Tensor

from gpt2svc.models.kv_store import KeyValueStore
from gpt2svc.models.scratch import Scratch

# Queries a matrix product: below four rows the kernels round in another way. Rows that no query needs hold whatever
# was there.
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

    `slots` ascend; each has from 1 to QUERY_ROWS queries of neighbouring positions (`counts`), and each of those sees
    the keys up to its own. A lane is a place in the buffers: that of each slot, and of idle ones between. Each block of
    keys is multiplied for the runs of slots that reach it, so a long sequence costs its own blocks and nobody else's.
    """

    def __init__(
        self,
        store: KeyValueStore,
        slots: Sequence[int],
        num_blocks: Sequence[int],
        counts: Sequence[int],
        scratch: Scratch,
    ) -> None:
        self._store = store
        self._key = (store.capacity, slots, num_blocks, counts)
        runs, lanes = _plan_runs(slots, num_blocks, max_gap=_GAP_BYTES // store.block_bytes)
        total, num_lanes, block = max(num_blocks), lanes[-1] + 1, store.block
        heads, head_dim, device, dtype = store.n_head, store.head_dim, store.device, store.dtype
        width = max(counts)
        self._places: tuple[Tensor, Tensor] | None = None  # lane and row in it of each query, where there are gaps
        if num_lanes != len(slots) or min(counts) != width:
            pairs = [(lane, row) for lane, count in zip(lanes, counts, strict=True) for row in range(count)]
            table = torch.tensor(pairs, device=device).t().contiguous()
            self._places = (table[0], table[1])
        queries = scratch.take("queries", (num_lanes, heads, QUERY_ROWS, head_dim), dtype)
        scores = scratch.take("scores", (total, num_lanes, heads, QUERY_ROWS, block), dtype)
        weights = scratch.take("weights", (total, num_lanes, heads, QUERY_ROWS, block), dtype)
        sums = scratch.take("sums", (num_lanes, heads, QUERY_ROWS, head_dim), dtype)
        self._masked = scratch.take("masked", (num_lanes, heads, width, total, block), dtype)
        self._softmaxed = scratch.take("softmaxed", (num_lanes, heads, width, total, block), dtype)
        self._masked_keys = self._masked.flatten(3)
        self._softmaxed_keys = self._softmaxed.flatten(3)
        self._query_rows = queries[:, :, :width].transpose(1, 2)  # (lanes, width, heads, head_dim)
        self._score_rows = scores[:, :, :, :width].permute(1, 2, 3, 0, 4)  # (lanes, heads, width, blocks, block)
        self._weight_rows = weights[:, :, :, :width].permute(1, 2, 3, 0, 4)
        self._sum_rows = sums[:, :, :width].transpose(1, 2)
        self._minus_infinity = torch.full((), -torch.inf, dtype=dtype, device=device)
        self._keys = torch.arange(total * block, device=device).view(1, 1, 1, total, block)
        self._is_seen = torch.empty((num_lanes, 1, width, total, block), dtype=torch.bool, device=device)
        # An idle row sees one key: a softmax over none would be NaN.
        self._lengths = torch.ones((num_lanes, width), dtype=torch.int64, device=device)
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

    def fits(
        self, store: KeyValueStore, slots: Sequence[int], num_blocks: Sequence[int], counts: Sequence[int]
    ) -> bool:
        """Whether this is the attention for these."""
        return store is self._store and self._key == (store.capacity, slots, num_blocks, counts)

    def set_lengths(self, lengths: Tensor) -> None:
        """Keys that each query sees in this step, that of its own position included: (num_rows,), slot by slot."""
        if self._places is None:
            self._lengths.view(-1).copy_(lengths)
        else:
            self._lengths.index_put_(self._places, lengths)
        torch.lt(self._keys, self._lengths[:, None, :, None, None], out=self._is_seen)

    def attend(self, layer: int, queries: Tensor, out: Tensor) -> None:
        """Queries (num_rows, n_head, head_dim), slot by slot and already scaled, to `out` of the same shape."""
        rows = self._query_rows
        if self._places is None:
            rows.copy_(queries.view(rows.shape))
        else:
            rows.index_put_(self._places, queries)
        for views, query, score, _, _, _ in self._products:
            torch.bmm(query, views[layer][0], out=score)
        torch.where(self._is_seen, self._score_rows, self._minus_infinity, out=self._masked)
        torch.softmax(self._masked_keys, -1, out=self._softmaxed_keys)
        self._weight_rows.copy_(self._softmaxed)
        for views, _, _, weight, total, is_first in self._products:
            if is_first:
                torch.bmm(weight, views[layer][1], out=total)
            else:
                total.baddbmm_(weight, views[layer][1])
        sums = self._sum_rows
        out.copy_(sums.reshape(out.shape) if self._places is None else sums[self._places])


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
