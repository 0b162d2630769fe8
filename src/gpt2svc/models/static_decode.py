"""StaticDecode: steps in which each sequence has one row, in a few fixed shapes, as CUDA graphs need them."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor

from gpt2svc.models.chunk import Chunk
from gpt2svc.models.gpt2 import GPT2
from gpt2svc.models.graph_runner import GraphRunner
from gpt2svc.models.rounding import round_up
from gpt2svc.models.slot_attention import SlotAttention
from gpt2svc.models.window_store import WindowStore

# Keys of a step are those of its longest sequence, rounded up to this many: more of them mean more shapes to capture,
# fewer mean more keys read in vain.
LENGTH_STEP: Final = 256


class DecodeShape(NamedTuple):
    """What tells one captured graph from another."""

    num_lanes: int
    length: int  # of keys
    is_slot_by_slot: bool  # lane i is slot i: keys are read where they lie, else copied together


class StaticDecode:
    """For one store, of which it notices that it has grown.

    A lane is a row of the fixed shape. Lanes without a sequence compute token 0 at position 0 and write it to the
    scratch slot; no lane reads another's results.
    """

    def __init__(self, model: GPT2, store: WindowStore, runner: GraphRunner) -> None:
        self.store = store
        self._model = model
        self._runner = runner
        self._capacity = store.capacity
        self._lane_counts = lane_counts(store.num_slots)
        self._tables: dict[int, Tensor] = {}
        self._logits = torch.empty((store.num_slots, model.vocab_size), dtype=model.dtype, device=store.device)

    def logits(self, chunks: Sequence[Chunk]) -> Tensor:
        """Those after each chunk's row that asks for them, (num_sampled, vocab_size). Each chunk has one row."""
        store = self.store
        store.reserve(1 + max(chunk.slot for chunk in chunks))
        if store.capacity != self._capacity:
            self._runner.clear()
            self._capacity = store.capacity
        shape = self.shape_of(chunks)
        lanes = [chunk.slot for chunk in chunks] if shape.is_slot_by_slot else range(len(chunks))
        token_ids, positions = [0] * shape.num_lanes, [0] * shape.num_lanes
        slots = [store.scratch_slot] * shape.num_lanes
        for lane, chunk in zip(lanes, chunks, strict=True):
            token_ids[lane], positions[lane], slots[lane] = chunk.token_ids[0], chunk.start, chunk.slot
        sampled = [lane for lane, chunk in zip(lanes, chunks, strict=True) if chunk.num_logits]
        sampled += [0] * (shape.num_lanes - len(sampled))
        table = self._table(shape.num_lanes)
        # NOTE: from pageable memory, so that the copy is staged before the call returns; and nothing waits for it.
        table.copy_(torch.tensor([token_ids, positions, slots, sampled]), non_blocking=True)
        self._runner.run(shape, lambda: self._compute(shape))
        # A copy, since the next step writes over the buffer.
        return self._logits.index_select(0, table[3, : sum(1 for chunk in chunks if chunk.num_logits)])

    def shape_of(self, chunks: Sequence[Chunk]) -> DecodeShape:
        """The smallest shape for them."""
        num_lanes = next(count for count in self._lane_counts if count >= len(chunks))
        num_keys = 1 + max(chunk.start for chunk in chunks)
        is_slot_by_slot = num_lanes <= self.store.capacity and max(chunk.slot for chunk in chunks) < num_lanes
        return DecodeShape(num_lanes, length_of(num_keys, self.store.window), is_slot_by_slot)

    def _table(self, num_lanes: int) -> Tensor:
        """Of each lane its token, its position, the slot it writes to, and which lane's logits come as the next."""
        table = self._tables.get(num_lanes)
        if table is None:
            table = torch.zeros((4, num_lanes), dtype=torch.int64, device=self.store.device)
            self._tables[num_lanes] = table
        return table

    def _compute(self, shape: DecodeShape) -> None:
        token_ids, positions, slots, _ = self._table(shape.num_lanes).unbind(0)
        batch = _Lanes(self.store, slots, positions, shape)
        x = self._model.run_layers(token_ids, positions, batch)
        self._logits[: shape.num_lanes].copy_(self._model.logits(x))


class _Lanes:
    """The rows of one fixed shape, as the layers ask for them."""

    def __init__(self, store: WindowStore, slots: Tensor, positions: Tensor, shape: DecodeShape) -> None:
        self._store = store
        self._places = store.places(slots, positions)
        read = None if shape.is_slot_by_slot else slots
        self._attention = SlotAttention(store, read, positions, shape.length)

    def attend(self, layer: int, qkv: Tensor) -> Tensor:
        store = self._store
        queries, keys, values = qkv.view(-1, 3, store.n_head, store.head_dim).to(store.dtype).unbind(1)
        store.write(layer, self._places, keys, values)
        return self._attention.attend(layer, queries).flatten(1).to(qkv.dtype)


def lane_counts(num_slots: int) -> list[int]:
    """1, 2, 4, … and `num_slots`."""
    return [*(1 << i for i in range((num_slots - 1).bit_length())), num_slots]


def length_of(num_keys: int, window: int) -> int:
    """`num_keys` rounded up to LENGTH_STEP, but not beyond the window."""
    return min(round_up(num_keys, LENGTH_STEP), window)
