"""SlotCache: keys and values in the layout that csrc/attention.h reads."""

import math
from typing import Final

import torch
from torch import Tensor

from gpt2svc.errors import ConfigError, EngineError
from gpt2svc.models.config import GPT2Config
from gpt2svc.models.kv_store import reserved_zeros
from gpt2svc.models.native.structures import CacheStruct, Kind

_BLOCK: Final = 16


class SlotCache:
    """A sequence's window a slot: keys (layer, slot, head, block, head_dim, 16), values (layer, slot, head, position,
    head_dim).

    The memory is reserved at once, but the operating system only hands it out where tokens are written.
    """

    def __init__(self, config: GPT2Config, num_slots: int, dtype: torch.dtype) -> None:
        """Raises ConfigError where there is no memory for so many slots."""
        self.num_blocks = math.ceil(config.n_positions / _BLOCK)
        heads = (config.n_layer, num_slots, config.n_head)
        num_positions = self.num_blocks * _BLOCK
        try:
            self._keys = reserved_zeros((*heads, self.num_blocks, config.head_dim, _BLOCK), dtype)
            self._values = reserved_zeros((*heads, num_positions, config.head_dim), dtype)
        except (OSError, RuntimeError, ValueError) as error:
            size = 2 * math.prod(heads) * num_positions * config.head_dim * dtype.itemsize
            raise ConfigError(
                f"There is no memory for {num_slots} slots of the KV cache ({size / 1e9:.1f} GB): lower max_num_seqs.",
                field="max_num_seqs",
            ) from error
        self.struct = CacheStruct(
            keys=self._keys.data_ptr(),
            values=self._values.data_ptr(),
            num_slots=num_slots,
            kind=Kind.BFLOAT16 if dtype == torch.bfloat16 else Kind.FLOAT32,
            num_blocks=self.num_blocks,
            num_layers=config.n_layer,
            num_heads=config.n_head,
            head_dim=config.head_dim,
        )

    @property
    def num_bytes(self) -> int:
        """With all slots full."""
        return self._keys.nbytes + self._values.nbytes

    def copy_prefix(self, source: int, target: int, num_tokens: int) -> None:
        """Copy the first `num_tokens` positions of a slot to another, rounded up to whole blocks.

        Raises EngineError for a slot or a position that the cache hasn't got."""
        self._require(source, target, 0, num_tokens)
        num_blocks = math.ceil(num_tokens / _BLOCK)
        self._keys[:, target, :, :num_blocks] = self._keys[:, source, :, :num_blocks]
        self._values[:, target, :, :num_tokens] = self._values[:, source, :, :num_tokens]

    def copy_positions(self, source: int, target: int, start: int, end: int) -> None:
        """Copy the positions from `start` to before `end` of a slot to another, and touch no other position of it.

        Raises EngineError for a slot or a position that the cache hasn't got."""
        self._require(source, target, start, end)
        self._values[:, target, :, start:end] = self._values[:, source, :, start:end]
        positions = torch.arange(start, end)
        blocks, lanes = positions // _BLOCK, positions % _BLOCK
        whole = self._slot_keys(target)
        whole[:, :, blocks, :, lanes] = self._slot_keys(source)[:, :, blocks, :, lanes]

    def _require(self, source: int, target: int, start: int, end: int) -> None:
        # NOTE: a slot of -1 would be the last one, and a slice beyond the end would be cut short.
        num_slots, num_positions = self._values.shape[1], self._values.shape[3]
        for slot in (source, target):
            if not 0 <= slot < num_slots:
                raise EngineError(
                    f"A copy of the KV cache names slot {slot}; there are slots from 0 to {num_slots - 1}."
                )
        if not 0 <= start <= end <= num_positions:
            raise EngineError(
                f"A copy of the KV cache goes from position {start} to {end}; a slot has {num_positions} positions."
            )

    def _slot_keys(self, slot: int) -> Tensor:
        """(layer, head, block, head_dim, 16) of a slot, no copy."""
        return self._keys[:, slot]
