"""The rows of one forward call: where each comes from, where its keys and values go, what it attends to."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gpt2svc.models.chunk import Chunk
from gpt2svc.models.decode_attention import DecodeAttention
from gpt2svc.models.kv_store import KeyValueStore
from gpt2svc.models.linear import padded_rows
from gpt2svc.models.prefill_attention import PrefillAttention
from gpt2svc.models.scratch import Scratch


class RowBatch:
    """Rows are ordered: single rows by ascending slot, then longer chunks by slot, then padding (see `padded_rows`).

    `kept` is the decode attention of the step before, taken again where it fits: making one takes many small calls.
    """

    def __init__(
        self,
        chunks: Sequence[Chunk],
        store: KeyValueStore,
        scratch: Scratch,
        dtype: torch.dtype,
        kept: DecodeAttention | None,
    ) -> None:
        store.reserve(1 + max(chunk.slot for chunk in chunks))
        self._store = store
        order = sorted(range(len(chunks)), key=lambda i: (len(chunks[i].token_ids) > 1, chunks[i].slot))
        token_ids: list[int] = []
        positions: list[int] = []
        slots: list[int] = []
        last_rows = [0] * len(chunks)
        spans: list[tuple[int, Chunk]] = []
        for i in order:
            chunk = chunks[i]
            count = len(chunk.token_ids)
            if count > 1:
                spans.append((len(token_ids), chunk))
            token_ids.extend(chunk.token_ids)
            positions.extend(range(chunk.start, chunk.start + count))
            slots.extend([chunk.slot] * count)
            last_rows[i] = len(token_ids) - 1
        self._num_rows = len(token_ids)
        self._num_decode = spans[0][0] if spans else self._num_rows
        padding = [0] * (padded_rows(self._num_rows) - self._num_rows)
        table = torch.tensor([token_ids + padding, positions + padding, slots + padding], device=store.device)
        self.token_ids, self.positions = table[0], table[1]
        self._places = store.places(table[2, : self._num_rows], table[1, : self._num_rows])

        sampled = [
            row
            for last, chunk in zip(last_rows, chunks, strict=True)
            for row in range(last + 1 - chunk.num_logits, last + 1)
        ]
        self.num_sampled = len(sampled)
        # Rows to compute logits for, or None where they are the first ones as they stand.
        self._sampled: Tensor | None = None
        if sampled != list(range(len(sampled))):
            self._sampled = torch.tensor(
                sampled + [0] * (padded_rows(len(sampled)) - len(sampled)), device=store.device
            )

        pooled = [
            row
            for last, chunk in zip(last_rows, chunks, strict=True)
            for row in range(last + 1 - chunk.num_pooled, last + 1)
        ]
        self._pooled = torch.tensor(pooled, device=store.device) if pooled else None

        width = store.n_head * store.head_dim
        rows = len(token_ids) + len(padding)
        self._out = scratch.take("attended", (rows, width), dtype)
        self._out_heads = self._out.view(rows, store.n_head, store.head_dim)
        self.decode_attention: DecodeAttention | None = None
        if self._num_decode:
            num_blocks = [position // store.block + 1 for position in positions[: self._num_decode]]
            if kept is None or not kept.fits(store, slots[: self._num_decode], num_blocks):
                kept = DecodeAttention(store, slots[: self._num_decode], num_blocks, scratch)
            kept.set_lengths(self.positions[: self._num_decode] + 1)
            self.decode_attention = kept
        self._spans = [
            (
                row,
                row + len(chunk.token_ids),
                PrefillAttention(store, chunk.slot, chunk.start, len(chunk.token_ids), scratch),
            )
            for row, chunk in spans
        ]

    def attend(self, layer: int, qkv: Tensor) -> Tensor:
        """Queries, keys and values (rows, 3 * n_embd) to what they attend to (rows, n_embd)."""
        store = self._store
        heads = qkv.view(-1, 3, store.n_head, store.head_dim)
        queries, keys, values = heads.to(store.dtype).unbind(1)
        store.write(layer, self._places, keys[: self._num_rows], values[: self._num_rows])
        if self.decode_attention is not None:
            self.decode_attention.attend(layer, queries[: self._num_decode], self._out_heads[: self._num_decode])
        for first, end, attention in self._spans:
            attention.attend(layer, queries[first:end], self._out_heads[first:end])
        return self._out

    def sampled_rows(self, x: Tensor) -> Tensor:
        """Of x (rows, n_embd) those whose logits are wanted, then padding."""
        return x[: padded_rows(self.num_sampled)] if self._sampled is None else x[self._sampled]

    def pooled_rows(self, x: Tensor) -> Tensor:
        """Of x (rows, n_embd) those whose hidden states are wanted, chunk by chunk: (num_pooled, n_embd)."""
        return x[:0] if self._pooled is None else x[self._pooled]
