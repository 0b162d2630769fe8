"""The memory of the KV cache: keys and values of every layer, in slots of the whole window each."""

import math
import mmap
from typing import Final, NamedTuple

import torch
from torch import Tensor

from gpt2svc.errors import ConfigError
from gpt2svc.models.config import GPT2Config
from gpt2svc.models.rounding import round_up

# Attention goes over the keys in blocks of this many positions, each a matrix product of one fixed shape, so that
# its bits depend on nothing but the sequence itself. Smaller blocks mean more calls, larger ones more idle keys.
_CPU_BLOCK: Final = 128
_GPU_BLOCK: Final = 512

_INITIAL_SLOTS: Final = 4
_MAX_VIEWS: Final = 8192


class Places(NamedTuple):
    """Where the keys and values of rows go: each (rows,), but `value_rows`, which is (rows, n_head)."""

    blocks: Tensor
    slots: Tensor
    offsets: Tensor  # in the block
    value_rows: Tensor


class KeyValueStore:
    """For each layer keys and values, (num_blocks, num_slots, n_head, block, head_dim) each.

    Blocks come before slots, so that one block of neighbouring slots is a batch of matrices without gaps, which the
    matrix products read fastest. For float32 on the CPU the keys of a block lie transposed, (head_dim, block): the
    products then read twice as fast; in bfloat16 it is the other way round.

    On the CPU the memory is reserved at once but the operating system only hands it out where tokens are written: an
    idle service stays small; elsewhere the tensors double as slots are used. Never-written places read as zeros.
    """

    _has_cpu_layout = True  # where it lies on a CPU

    def __init__(
        self,
        config: GPT2Config,
        num_slots: int,
        device: torch.device,
        dtype: torch.dtype,
        *,
        block: int | None = None,
        initial_slots: int | None = None,
    ) -> None:
        self.num_slots = num_slots
        self.device = device
        self.dtype = dtype
        self.n_head = config.n_head
        self.head_dim = config.head_dim
        self._num_layers = config.n_layer
        is_cpu = self._has_cpu_layout and device.type == "cpu"
        self.block = block or (_CPU_BLOCK if is_cpu else self._gpu_block(config.n_positions))
        self.num_blocks = math.ceil(config.n_positions / self.block)
        self.capacity = min(num_slots, initial_slots or (num_slots if is_cpu else _INITIAL_SLOTS))
        self._are_keys_transposed = is_cpu and dtype == torch.float32
        self._keys = [self._new_tensor(self.capacity) for _ in range(config.n_layer)]
        self._values = [self._new_tensor(self.capacity) for _ in range(config.n_layer)]
        self._views: dict[tuple[int, int, int], list[tuple[Tensor, Tensor]]] = {}
        self._heads = torch.arange(self.n_head, device=device)

    @property
    def num_bytes(self) -> int:
        """With all slots full."""
        return self._num_layers * self.num_blocks * self.num_slots * self.block_bytes

    @property
    def block_bytes(self) -> int:
        """Keys and values of one block of one slot in one layer."""
        return 2 * self.n_head * self.block * self.head_dim * self.dtype.itemsize

    def places(self, slots: Tensor, positions: Tensor) -> Places:
        """Of rows at these positions (rows,) of these slots (rows,); for all layers."""
        blocks, offsets = positions // self.block, positions % self.block
        matrices = ((blocks * self.capacity + slots) * self.n_head).unsqueeze(1) + self._heads
        return Places(blocks, slots, offsets, matrices * self.block + offsets.unsqueeze(1))

    def write(self, layer: int, places: Places, keys: Tensor, values: Tensor) -> None:
        """Keys and values (rows, n_head, head_dim) to their places."""
        if self._are_keys_transposed:
            self._transposed(self._keys[layer])[places.blocks, places.slots, :, :, places.offsets] = keys
        else:
            self._keys[layer].view(-1, self.head_dim)[places.value_rows] = keys
        self._values[layer].view(-1, self.head_dim)[places.value_rows] = values

    def block_views(self, block: int, first_slot: int, end_slot: int) -> list[tuple[Tensor, Tensor]]:
        """Per layer the transposed keys (B, head_dim, block) and the values (B, block, head_dim), without a copy.

        B is the number of slots from `first_slot` to before `end_slot`, times n_head.
        """
        key = (block, first_slot, end_slot)
        views = self._views.get(key)
        if views is None:
            if len(self._views) >= _MAX_VIEWS:
                self._views.clear()
            slots = slice(first_slot, end_slot)
            views = [
                (self._transposed(keys)[block, slots].flatten(0, 1), values[block, slots].flatten(0, 1))
                for keys, values in zip(self._keys, self._values, strict=True)
            ]
            self._views[key] = views
        return views

    def reserve(self, num_slots: int) -> None:
        """Make room for slots up to `num_slots`; plans made before are void where `capacity` changes."""
        if num_slots <= self.capacity:
            return
        capacity = min(self.num_slots, max(num_slots, 2 * self.capacity))
        for tensors in (self._keys, self._values):
            for i, old in enumerate(tensors):
                tensors[i] = new = self._new_tensor(capacity)
                new[:, : self.capacity] = old[:, : self.capacity]
        self.capacity = capacity
        self._views.clear()

    def copy_prefix(self, source: int, target: int, num_tokens: int) -> None:
        """Copy the first `num_tokens` positions of a slot to another, rounded up to whole blocks."""
        self.reserve(target + 1)
        num_blocks = math.ceil(num_tokens / self.block)
        for tensor in (*self._keys, *self._values):
            tensor[:num_blocks, target] = tensor[:num_blocks, source]

    def copy_positions(self, source: int, target: int, start: int, end: int) -> None:
        """Copy the positions from `start` to before `end` of a slot to another, and touch no other position of it."""
        self.reserve(target + 1)
        for block in range(start // self.block, (end - 1) // self.block + 1):
            places = slice(max(start - block * self.block, 0), min(end - block * self.block, self.block))
            for keys, values in zip(self._keys, self._values, strict=True):
                transposed = self._transposed(keys)
                transposed[block, target, :, :, places] = transposed[block, source, :, :, places]
                values[block, target, :, places] = values[block, source, :, places]

    def _gpu_block(self, n_positions: int) -> int:
        return min(_GPU_BLOCK, round_up(n_positions, 16))

    def _transposed(self, keys: Tensor) -> Tensor:
        """A layer's keys as (num_blocks, num_slots, n_head, head_dim, block)."""
        if self._are_keys_transposed:
            return keys.view(self.num_blocks, -1, self.n_head, self.head_dim, self.block)
        return keys.transpose(3, 4)

    def _new_tensor(self, capacity: int) -> Tensor:
        shape = (self.num_blocks, capacity, self.n_head, self.block, self.head_dim)
        try:
            if self.device.type == "cpu":
                return reserved_zeros(shape, self.dtype)
            return torch.zeros(shape, dtype=self.dtype, device=self.device)
        except (OSError, RuntimeError) as error:
            size = 2 * self._num_layers * math.prod(shape) * self.dtype.itemsize
            raise ConfigError(
                f"There is no memory for {capacity} slots of the KV cache ({size / 1e9:.1f} GB): lower max_num_seqs.",
                field="max_num_seqs",
            ) from error


def reserved_zeros(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Zeros whose pages take no memory until they are written."""
    num_bytes = math.prod(shape) * dtype.itemsize
    if hasattr(mmap, "MAP_PRIVATE"):
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
        pages = mmap.mmap(-1, num_bytes, flags=flags)
    else:  # Windows
        pages = mmap.mmap(-1, num_bytes)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        # A huge page would be handed out whole for the first token of a slot.
        try:
            pages.madvise(mmap.MADV_NOHUGEPAGE)
        except OSError:  # a kernel without huge pages refuses the advice
            return torch.frombuffer(pages, dtype=dtype).view(shape)
    return torch.frombuffer(pages, dtype=dtype).view(shape)
