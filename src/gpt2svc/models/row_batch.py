"""The rows of one forward call: where each comes from, where its keys and values go, what it attends to."""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from gpt2svc.models.chunk import Chunk
from gpt2svc.models.decode_attention import QUERY_ROWS, DecodeAttention
from gpt2svc.models.kv_store import KeyValueStore
from gpt2svc.models.linear import padded_rows
from gpt2svc.models.prefill_attention import PrefillAttention
from gpt2svc.models.scratch import Scratch

_LONG: Final = QUERY_ROWS + 1

_Starts = dict[int, list[tuple[int, Chunk]]]  # by kind of chunk: its first row, and the chunk


class RowBatch:
    """Rows are ordered: single rows by ascending slot, then chunks of a few rows by slot, then longer chunks, then
    padding (see `padded_rows`).

    `kept` has the decode attentions of the steps before, that of single rows under 1 and that of a few rows under
    QUERY_ROWS. They are taken again where they fit, since making one takes many small calls, and replaced where not.
    """

    def __init__(
        self,
        chunks: Sequence[Chunk],
        store: KeyValueStore,
        scratch: Scratch,
        dtype: torch.dtype,
        kept: dict[int, DecodeAttention],
    ) -> None:
        store.reserve(1 + max(chunk.slot for chunk in chunks))
        self._store = store
        order = sorted(range(len(chunks)), key=lambda i: (_kind(chunks[i]), chunks[i].slot))
        token_ids: list[int] = []
        positions: list[int] = []
        slots: list[int] = []
        last_rows = [0] * len(chunks)
        starts: _Starts = {1: [], QUERY_ROWS: [], _LONG: []}
        for i in order:
            chunk = chunks[i]
            count = len(chunk.token_ids)
            starts[_kind(chunk)].append((len(token_ids), chunk))
            token_ids.extend(chunk.token_ids)
            positions.extend(range(chunk.start, chunk.start + count))
            slots.extend([chunk.slot] * count)
            last_rows[i] = len(token_ids) - 1
        self._num_rows = len(token_ids)
        padding = [0] * (padded_rows(self._num_rows) - self._num_rows)
        table = torch.tensor([token_ids + padding, positions + padding, slots + padding], device=store.device)
        self.token_ids, self.positions = table[0], table[1]
        self._places = store.places(table[2, : self._num_rows], table[1, : self._num_rows])

        sampled = _last_of_each(last_rows, [chunk.num_logits for chunk in chunks])
        self.num_sampled = len(sampled)
        # Rows to compute logits for, or None where they are the first ones as they stand.
        self._sampled: Tensor | None = None
        if sampled != list(range(len(sampled))):
            self._sampled = torch.tensor(
                sampled + [0] * (padded_rows(len(sampled)) - len(sampled)), device=store.device
            )
        pooled = _last_of_each(last_rows, [chunk.num_pooled for chunk in chunks])
        self._pooled = torch.tensor(pooled, device=store.device) if pooled else None

        width = store.n_head * store.head_dim
        rows = len(token_ids) + len(padding)
        self._out = scratch.take("attended", (rows, width), dtype)
        self._out_heads = self._out.view(rows, store.n_head, store.head_dim)
        self._spans = self._new_spans(starts, scratch, kept)

    def _new_spans(
        self, starts: _Starts, scratch: Scratch, kept: dict[int, DecodeAttention]
    ) -> list[tuple[int, int, DecodeAttention | PrefillAttention]]:
        """Rows from … to before …, and what attends for them."""
        spans: list[tuple[int, int, DecodeAttention | PrefillAttention]] = []
        for kind in (1, QUERY_ROWS):
            if starts[kind]:
                first, end = starts[kind][0][0], starts[kind][-1][0] + len(starts[kind][-1][1].token_ids)
                own = [chunk for _, chunk in starts[kind]]
                kept[kind] = attention = _decode_attention(own, self._store, scratch, kept.get(kind))
                attention.set_lengths(self.positions[first:end] + 1)
                spans.append((first, end, attention))
        for first, chunk in starts[_LONG]:
            count = len(chunk.token_ids)
            prefill = PrefillAttention(self._store, chunk.slot, chunk.start, count, scratch)
            spans.append((first, first + count, prefill))
        return spans

    def attend(self, layer: int, qkv: Tensor) -> Tensor:
        """Queries, keys and values (rows, 3 * n_embd) to what they attend to (rows, n_embd)."""
        store = self._store
        heads = qkv.view(-1, 3, store.n_head, store.head_dim)
        queries, keys, values = heads.to(store.dtype).unbind(1)
        store.write(layer, self._places, keys[: self._num_rows], values[: self._num_rows])
        for first, end, attention in self._spans:
            attention.attend(layer, queries[first:end], self._out_heads[first:end])
        return self._out

    def sampled_rows(self, x: Tensor) -> Tensor:
        """Of x (rows, n_embd) those whose logits are wanted, then padding."""
        return x[: padded_rows(self.num_sampled)] if self._sampled is None else x[self._sampled]

    def pooled_rows(self, x: Tensor) -> Tensor:
        """Of x (rows, n_embd) those whose hidden states are wanted, chunk by chunk: (num_pooled, n_embd)."""
        return x[:0] if self._pooled is None else x[self._pooled]


def _last_of_each(last_rows: Sequence[int], counts: Sequence[int]) -> list[int]:
    """The rows that end in each of `last_rows`, as many as `counts` says."""
    return [row for last, count in zip(last_rows, counts, strict=True) for row in range(last + 1 - count, last + 1)]


def _kind(chunk: Chunk) -> int:
    """1 for a single row, QUERY_ROWS for a few, more for a longer chunk."""
    count = len(chunk.token_ids)
    if count > QUERY_ROWS:
        return _LONG
    return 1 if count == 1 else QUERY_ROWS


def _decode_attention(
    chunks: Sequence[Chunk], store: KeyValueStore, scratch: Scratch, kept: DecodeAttention | None
) -> DecodeAttention:
    slots = [chunk.slot for chunk in chunks]
    counts = [len(chunk.token_ids) for chunk in chunks]
    num_blocks = [(chunk.start + len(chunk.token_ids) - 1) // store.block + 1 for chunk in chunks]
    if kept is not None and kept.fits(store, slots, num_blocks, counts):
        return kept
    return DecodeAttention(store, slots, num_blocks, counts, scratch)
