"""Attention of a prompt's chunk: several query rows of one sequence, causal, over its slot of the KV cache."""

import math

import torch
from torch import Tensor

from gpt2svc.models.kv_store import KeyValueStore
from gpt2svc.models.linear import padded_rows
from gpt2svc.models.scratch import Scratch


class PrefillAttention:
    """For one chunk in one step: the buffers are shared with the step's other chunks, which run one after another."""

    def __init__(self, store: KeyValueStore, slot: int, start: int, num_rows: int, scratch: Scratch) -> None:
        self._num_rows = num_rows
        rows = padded_rows(num_rows)
        total, block, heads, head_dim = (
            math.ceil((start + num_rows) / store.block),
            store.block,
            store.n_head,
            store.head_dim,
        )
        self._blocks = [store.block_views(i, slot, slot + 1) for i in range(total)]
        device, dtype = store.device, store.dtype
        self._padded = None if num_rows == rows else scratch.take("chunk queries", (heads, rows, head_dim), dtype)
        self._scores = scratch.take("chunk scores", (total, heads, rows, block), dtype)
        self._score_rows = self._scores.permute(1, 2, 0, 3)  # (heads, rows, blocks, block)
        self._masked = scratch.take("chunk masked", (heads, rows, total, block), dtype)
        self._softmaxed = scratch.take("chunk softmaxed", (heads, rows, total, block), dtype)
        self._sums = scratch.take("chunk sums", (heads, rows, head_dim), dtype)
        self._sum_rows = self._sums[:, :num_rows].transpose(0, 1)  # (num_rows, heads, head_dim)
        self._minus_infinity = torch.full((), -torch.inf, dtype=dtype, device=device)
        positions = torch.arange(start, start + rows, device=device).view(1, rows, 1, 1)
        self._is_seen = torch.arange(total * block, device=device).view(1, 1, total, block) <= positions

    def attend(self, layer: int, queries: Tensor, out: Tensor) -> None:
        """Queries (num_rows, n_head, head_dim), already scaled, to `out` of the same shape."""
        query = queries.transpose(0, 1)
        if self._padded is not None:
            self._padded[:, : self._num_rows] = query
            query = self._padded
        for i, views in enumerate(self._blocks):
            torch.bmm(query, views[layer][0], out=self._scores[i])
        torch.where(self._is_seen, self._score_rows, self._minus_infinity, out=self._masked)
        torch.softmax(self._masked.flatten(2), -1, out=self._softmaxed.flatten(2))
        for i, views in enumerate(self._blocks):
            if i == 0:
                torch.bmm(self._softmaxed[:, :, i], views[layer][1], out=self._sums)
            else:
                self._sums.baddbmm_(self._softmaxed[:, :, i], views[layer][1])
        out.copy_(self._sum_rows)
