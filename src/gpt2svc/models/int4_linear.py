"""Linear layers of 4-bit weights in groups: by torch's own product on the CPU, and restored on other devices."""

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from gpt2svc.models.group_quantization import GROUP_SIZE, Groups, quantize_groups, restored
from gpt2svc.models.linear import activation_function
from gpt2svc.models.row_activation import row_activation

_OUTPUT_STEP: Final = 64  # the CPU's product takes outputs by so many
_K_TILES: Final = 2  # of a layout for GPUs; the CPU's packing asks for a number and ignores it


class Int4Linear:
    """For float32 rows on the CPU, which are multiplied in bfloat16: each row by itself, so the same in any company."""

    def __init__(self, weight: Tensor, bias: Tensor | None, activation: str | None = None) -> None:
        self._num_out, num_in = weight.shape
        groups = quantize_groups(functional.pad(weight, (0, 0, 0, -self._num_out % _OUTPUT_STEP)), torch.bfloat16)
        self._padding = groups.integers.shape[1] - num_in
        self._weight = torch.ops.aten._convert_weight_to_int4pack_for_cpu(groups.integers.int(), _K_TILES)
        self._facts = torch.stack([groups.steps.t(), groups.middles.t()], 2).contiguous()  # (groups, out, 2)
        self._bias = torch.zeros(()) if bias is None else bias.float()
        self._activation = row_activation(activation)
        self._multiply = torch.ops.aten._weight_int4pack_mm_for_cpu.default
        self.num_bytes = self._weight.nbytes + self._facts.nbytes + self._bias.nbytes

    def __call__(self, x: Tensor) -> Tensor:
        y = torch.add(self._bias, self._product(x))
        return y if self._activation is None else self._activation(y)

    def added_to(self, residual: Tensor, x: Tensor) -> Tensor:
        return torch.add(residual, self._product(x)).add_(self._bias)

    def _product(self, x: Tensor) -> Tensor:
        x = x.to(torch.bfloat16)
        if self._padding:
            x = functional.pad(x, (0, self._padding))
        product: Tensor = self._multiply(x, self._weight, GROUP_SIZE, self._facts)
        return product if product.shape[1] == self._num_out else product[:, : self._num_out]


class RestoredInt4Linear:
    """On any device, in the dtype of the rows: weights are restored for each product. Memory is saved, not time."""

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, activation: str | None = None) -> None:
        self._num_in = weight.shape[1]
        groups = quantize_groups(weight, dtype)
        self._pairs = groups.integers[:, 0::2] | (groups.integers[:, 1::2] << 4)
        self._steps, self._middles = groups.steps, groups.middles
        self._bias = torch.zeros((), dtype=dtype, device=weight.device) if bias is None else bias.to(dtype)
        self._activation = activation_function(activation)
        self.num_bytes = sum(t.nbytes for t in (self._pairs, self._steps, self._middles, self._bias))

    def __call__(self, x: Tensor) -> Tensor:
        integers = torch.stack([self._pairs & 15, self._pairs >> 4], 2).flatten(1)
        weight = restored(Groups(integers, self._steps, self._middles))[:, : self._num_in]
        y = functional.linear(x, weight) + self._bias
        return y if self._activation is None else self._activation(y)

    def added_to(self, residual: Tensor, x: Tensor) -> Tensor:
        return residual + self(x)


def can_multiply_int4(device: torch.device) -> bool:
    """Whether this build has the product that Int4Linear needs."""
    if device.type != "cpu":
        return False
    weight = torch.full((_OUTPUT_STEP, GROUP_SIZE), 9, dtype=torch.int32)
    facts = torch.ones((1, _OUTPUT_STEP, 2), dtype=torch.bfloat16)
    try:
        packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(weight, _K_TILES)
        rows = torch.ones((4, GROUP_SIZE), dtype=torch.bfloat16)
        product = torch.ops.aten._weight_int4pack_mm_for_cpu(rows, packed, GROUP_SIZE, facts)
    except (AttributeError, RuntimeError, TypeError):  # an older or smaller build
        return False
    return bool((product == 2 * GROUP_SIZE).all())
