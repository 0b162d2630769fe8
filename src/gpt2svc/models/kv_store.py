"""The memory of the KV cache: keys and values of every layer, in slots of the whole window each."""

import math
import mmap
from typing import Final

import torch
from torch import Tensor

from gpt2svc.errors import ConfigError
from gpt2svc.models.config import GPT2Config

# Attention goes over the keys in blocks of this many positions, each a matrix product of one fixed shape, so that
# its bits depend on nothing but the sequence itself. Smaller blocks mean more calls, larger ones more idle keys.
_CPU_BLOCK: Final = 128
_GPU_BLOCK: Final = 512

_INITIAL_SLOTS: Final = 4
_MAX_VIEWS: Final = 8192


class KeyValueStore:
    """For each layer one tensor (2, num_blocks, num_slots, n_head, block, head_dim): keys, then values.

    Blocks come before slots, so that one block of neighbouring slots is a batch of matrices without gaps: with gaps,
    as when keys and values lie in turn, products in bfloat16 take three times as long. On the
    CPU the memory is reserved at once but the operating system only hands it out where tokens are written: an idle
    service stays small; elsewhere the tensors double as slots are used. Never-written places read as zeros.
    """

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
        is_cpu = device.type == "cpu"
        self.block = block or (_CPU_BLOCK if is_cpu else min(_GPU_BLOCK, _round_up(config.n_positions, 16)))
        self.num_blocks = math.ceil(config.n_positions / self.block)
        self.capacity = min(num_slots, initial_slots or (num_slots if is_cpu else _INITIAL_SLOTS))
        self._layers = [self._new_layer(self.capacity) for _ in range(config.n_layer)]
        self._views: dict[tuple[int, int, int], list[tuple[Tensor, Tensor]]] = {}
        self._head_offsets = self._new_head_offsets()

    @property
    def num_bytes(self) -> int:
        """With all slots full."""
        return len(self._layers) * self.num_blocks * self.num_slots * self.block_bytes

    @property
    def block_bytes(self) -> int:
        """Keys and values of one block of one slot in one layer."""
        return 2 * self.n_head * self.block * self.head_dim * self.dtype.itemsize

    def rows_of(self, layer: int) -> Tensor:
        """The layer's memory as (places, head_dim), to be indexed by `places`."""
        return self._layers[layer].view(-1, self.head_dim)

    def places(self, slots: Tensor, positions: Tensor) -> Tensor:
        """Where the keys and values of rows lie: slots (N,), positions (N,) to (N, 2, n_head)."""
        first = (positions // self.block) * self.capacity + slots
        first = first * (self.n_head * self.block) + positions % self.block
        return first.view(-1, 1, 1) + self._head_offsets

    def block_views(self, block: int, first_slot: int, end_slot: int) -> list[tuple[Tensor, Tensor]]:
        """Per layer the transposed keys (B, head_dim, block) and the values (B, block, head_dim), without a copy.

        B is the number of slots from `first_slot` to before `end_slot`, times n_head.
        """
        key = (block, first_slot, end_slot)
        views = self._views.get(key)
        if views is None:
            if len(self._views) >= _MAX_VIEWS:
                self._views.clear()
            views = [_key_and_value(layer[:, block, first_slot:end_slot]) for layer in self._layers]
            self._views[key] = views
        return views

    def reserve(self, num_slots: int) -> None:
        """Make room for slots up to `num_slots`; plans made before are void where `capacity` changes."""
        if num_slots <= self.capacity:
            return
        capacity = min(self.num_slots, max(num_slots, 2 * self.capacity))
        for i, old in enumerate(self._layers):
            self._layers[i] = new = self._new_layer(capacity)
            new[:, :, : self.capacity] = old
        self.capacity = capacity
        self._head_offsets = self._new_head_offsets()
        self._views.clear()

    def copy_prefix(self, source: int, target: int, num_tokens: int) -> None:
        """Copy the first `num_tokens` positions of a slot to another, rounded up to whole blocks."""
        self.reserve(target + 1)
        num_blocks = math.ceil(num_tokens / self.block)
        for layer in self._layers:
            layer[:, :num_blocks, target] = layer[:, :num_blocks, source]

    def _new_head_offsets(self) -> Tensor:
        """From a row's first place to those of all its heads' keys and values: (1, 2, n_head)."""
        heads = torch.arange(self.n_head, device=self.device) * self.block
        values = self.num_blocks * self.capacity * self.n_head * self.block
        return torch.stack((heads, heads + values)).unsqueeze(0)

    def _new_layer(self, capacity: int) -> Tensor:
        shape = (2, self.num_blocks, capacity, self.n_head, self.block, self.head_dim)
        try:
            if self.device.type == "cpu":
                return _reserved_zeros(shape, self.dtype)
            return torch.zeros(shape, dtype=self.dtype, device=self.device)
        except (OSError, RuntimeError) as error:
            size = math.prod(shape) * self.dtype.itemsize * max(1, len(getattr(self, "_layers", ())))
            raise ConfigError(
                f"There is no memory for {capacity} slots of the KV cache ({size / 1e9:.1f} GB): lower max_num_seqs.",
                field="max_num_seqs",
            ) from error


def _reserved_zeros(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
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


def _key_and_value(slots: Tensor) -> tuple[Tensor, Tensor]:
    """(2, slots, n_head, block, head_dim) to views of keys, transposed, and values."""
    matrices = slots.flatten(1, 2)
    return matrices[0].transpose(1, 2), matrices[1]


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
