"""The rows of a GPU's step that reads prompts, perhaps beside decoding sequences."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gpt2svc.models.chunk import Chunk
from gpt2svc.models.slot_attention import ChunkAttention, SlotAttention
from gpt2svc.models.static_decode import length_of
from gpt2svc.models.window_store import WindowStore


class MixedBatch:
    """Rows are ordered: chunks of one row, then longer ones."""

    def __init__(self, chunks: Sequence[Chunk], store: WindowStore) -> None:
        store.reserve(1 + max(chunk.slot for chunk in chunks))
        self._store = store
        order = sorted(range(len(chunks)), key=lambda i: len(chunks[i].token_ids) > 1)
        rows: list[tuple[int, int, int]] = []  # token, position, slot
        end_rows = [0] * len(chunks)
        for i in order:
            chunk = chunks[i]
            rows += [(token_id, chunk.start + j, chunk.slot) for j, token_id in enumerate(chunk.token_ids)]
            end_rows[i] = len(rows)
        sampled, pooled = (
            [row for end, count in zip(end_rows, counts, strict=True) for row in range(end - count, end)]
            for counts in ([chunk.num_logits for chunk in chunks], [chunk.num_pooled for chunk in chunks])
        )
        # One copy to the device, which nothing waits for.
        numbers = torch.tensor([*(n for row in zip(*rows, strict=True) for n in row), *sampled, *pooled])
        sizes = [len(rows)] * 3 + [len(sampled), len(pooled)]
        parts = torch.split(numbers.to(store.device, non_blocking=True), sizes)
        self.token_ids, self.positions, slots, self.sampled, self.pooled = parts
        self._places = store.places(slots, self.positions)
        self._spans: list[tuple[int, int, SlotAttention | ChunkAttention]] = []
        singles = [chunk for chunk in chunks if len(chunk.token_ids) == 1]
        count = len(singles)
        if singles:
            length = length_of(1 + max(chunk.start for chunk in singles), store.window)
            self._spans.append((0, count, SlotAttention(store, slots[:count], self.positions[:count], length)))
        for i in order[count:]:
            chunk = chunks[i]
            num_rows = len(chunk.token_ids)
            attention = ChunkAttention(store, chunk.slot, chunk.start, num_rows)
            self._spans.append((end_rows[i] - num_rows, end_rows[i], attention))

    def attend(self, layer: int, qkv: Tensor) -> Tensor:
        """Queries, keys and values (rows, 3 * n_embd) to what they attend to (rows, n_embd)."""
        store = self._store
        queries, keys, values = qkv.view(-1, 3, store.n_head, store.head_dim).to(store.dtype).unbind(1)
        store.write(layer, self._places, keys, values)
        attended = [attention.attend(layer, queries[first:end]) for first, end, attention in self._spans]
        return torch.cat(attended).flatten(1).to(qkv.dtype)
