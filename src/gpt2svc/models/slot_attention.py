"""Attention over a WindowStore by torch's fused operator: of single rows of many slots, and of one prompt's chunk."""

import torch
from torch import Tensor
from torch.nn import functional

from gpt2svc.models.rounding import round_up
from gpt2svc.models.window_store import WindowStore


class SlotAttention:
    """One query row for each of some slots, over the first `length` positions of each.

    Shapes depend on `length` and the number of rows only, never on how far a sequence is: keys after a row's own
    position are masked. So it can be captured into a CUDA graph.
    """

    def __init__(self, store: WindowStore, slots: Tensor | None, positions: Tensor, length: int) -> None:
        """`positions` (rows,); `slots` (rows,), or None where row i is that of slot i: keys are not copied then."""
        self._store = store
        self._slots = slots
        self._num_rows = len(positions)
        self._length = length
        is_seen = torch.arange(length, device=store.device) <= positions.unsqueeze(1)
        mask = torch.zeros(is_seen.shape, dtype=store.dtype, device=store.device)
        self._mask = mask.masked_fill_(~is_seen, -torch.inf).view(-1, 1, 1, length)

    def attend(self, layer: int, queries: Tensor) -> Tensor:
        """Queries (rows, n_head, head_dim), already scaled, to what they attend to, of the same shape."""
        keys, values = (self._of_rows(tensor) for tensor in self._store.keys_and_values(layer))
        attended = functional.scaled_dot_product_attention(
            queries.unsqueeze(2), keys, values, attn_mask=self._mask, scale=1.0
        )
        return attended.squeeze(2)

    def _of_rows(self, tensor: Tensor) -> Tensor:
        """(rows, n_head, length, head_dim)"""
        tensor = tensor[:, :, : self._length]
        return tensor[: self._num_rows] if self._slots is None else tensor.index_select(0, self._slots)


class ChunkAttention:
    """Several query rows of one slot, causal, over the chunk and what the slot holds before it."""

    def __init__(self, store: WindowStore, slot: int, start: int, num_rows: int) -> None:
        self._store = store
        self._slot = slot
        self._mask: Tensor | None = None
        self._end = start + num_rows
        if start:
            # Whole multiples of 16 keys: else the fused operators copy the mask in each layer.
            self._end = min(round_up(self._end, 16), store.window)
            positions = torch.arange(start, start + num_rows, device=store.device)
            is_seen = torch.arange(self._end, device=store.device) <= positions.unsqueeze(1)
            mask = torch.zeros(is_seen.shape, dtype=store.dtype, device=store.device)
            self._mask = mask.masked_fill_(~is_seen, -torch.inf)

    def attend(self, layer: int, queries: Tensor) -> Tensor:
        """As SlotAttention's; without a prefix in the form for which flash attention is taken where there is one."""
        keys, values = (tensor[self._slot, None, :, : self._end] for tensor in self._store.keys_and_values(layer))
        attended = functional.scaled_dot_product_attention(
            queries.transpose(0, 1).unsqueeze(0),
            keys,
            values,
            attn_mask=self._mask,
            is_causal=self._mask is None,
            scale=1.0,
        )
        return attended.squeeze(0).transpose(0, 1)
