"""The KV cache as a GPU's attention wants it: a slot's whole window in one piece, and a slot that nobody reads."""

from typing import Final

from torch import Tensor

from gpt2svc.models.kv_store import KeyValueStore
from gpt2svc.models.rounding import round_up

_WINDOW_STEP: Final = 16  # fused attention wants masks whose rows begin at multiples of 16 bytes


class WindowStore(KeyValueStore):
    """A KeyValueStore of one block a slot, with a scratch slot after the last one.

    Rows that only fill a fixed shape up write their keys and values to the scratch slot. Growing moves all of it, so
    addresses taken before are void where `capacity` has changed.
    """

    _has_cpu_layout = False

    @property
    def window(self) -> int:
        """Positions of a slot: those of the model, rounded up."""
        return self.block

    @property
    def scratch_slot(self) -> int:
        return self.capacity

    @property
    def num_bytes(self) -> int:
        """With all slots full, the scratch slot included."""
        return self._num_layers * (self.num_slots + 1) * self.block_bytes

    def keys_and_values(self, layer: int) -> tuple[Tensor, Tensor]:
        """(capacity + 1, n_head, window, head_dim) each, without a copy."""
        return self._keys[layer][0], self._values[layer][0]

    def copy_prefix(self, source: int, target: int, num_tokens: int) -> None:
        """Copy the first `num_tokens` positions of a slot to another, and no more: here a block is a whole window."""
        self.copy_positions(source, target, 0, num_tokens)

    def _gpu_block(self, n_positions: int) -> int:
        return round_up(n_positions, _WINDOW_STEP)

    def _new_tensor(self, capacity: int) -> Tensor:
        return super()._new_tensor(capacity + 1)
