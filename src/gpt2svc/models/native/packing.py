"""PackedWeights: a layer's weights in the panels that csrc/matmul.h reads."""

from typing import Final, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from gpt2svc.models.group_quantization import quantize_groups
from gpt2svc.models.native.structures import Kind, LinearStruct
from gpt2svc.models.row_quantization import require_finite

_PANEL: Final = 32
_LANES: Final = 16
_INT8_MAX: Final = 127


class _Packed(NamedTuple):
    panels: Tensor
    num_in: int  # as the panels have it
    scales: Tensor | None = None  # int8: float32, by output
    offsets: Tensor | None = None  # int8: int32, by output


class PackedWeights:
    """Weights (out, in) and a bias (out,), held as a Kind. `struct` points into tensors that live as long as this."""

    def __init__(self, weight: Tensor, bias: Tensor | None, kind: Kind) -> None:
        """Raises ModelFormatError where numbers that aren't finite can't be quantised."""
        num_out = weight.shape[0]
        extra = -num_out % _PANEL
        self._packed = _pack(weight, extra, kind)
        self._bias = None if bias is None else functional.pad(bias.float(), (0, extra)).contiguous()
        self.struct = LinearStruct(
            panels=self._packed.panels.data_ptr(),
            bias=_pointer(self._bias),
            scales=_pointer(self._packed.scales),
            offsets=_pointer(self._packed.offsets),
            num_in=self._packed.num_in,
            num_out=num_out,
            kind=kind,
        )
        tensors = (self._packed.panels, self._packed.scales, self._packed.offsets, self._bias)
        self.num_bytes = sum(tensor.nbytes for tensor in tensors if tensor is not None)


def _pack(weight: Tensor, extra: int, kind: Kind) -> _Packed:
    """With `extra` outputs of zeros put behind."""
    match kind:
        case Kind.FLOAT32:
            return _Packed(_panels(functional.pad(weight.float(), (0, 0, 0, extra)), 1), weight.shape[1])
        case Kind.BFLOAT16:
            return _Packed(_panels(functional.pad(weight.bfloat16(), (0, 0, 0, extra)), 2), weight.shape[1])
        case Kind.INT8:
            return _pack_int8(weight.float(), extra)
        case Kind.INT4:
            return _pack_int4(weight, extra)


def _pack_int8(weight: Tensor, extra: int) -> _Packed:
    require_finite(weight)
    scales = weight.abs().amax(1) / _INT8_MAX
    divisor = torch.where(scales > 0, scales, 1.0).unsqueeze(1)
    weight = (weight / divisor).round_().clamp_(-_INT8_MAX, _INT8_MAX)
    sums = functional.pad(weight.sum(1), (0, extra))
    return _Packed(
        _panels(functional.pad(weight, (0, 0, 0, extra)).to(torch.int8), 4),
        weight.shape[1],
        functional.pad(scales, (0, extra)).contiguous(),
        (128 * sums).to(torch.int32).contiguous(),
    )


def _pack_int4(weight: Tensor, extra: int) -> _Packed:
    groups = quantize_groups(weight, torch.bfloat16)
    num_groups = groups.steps.shape[1]
    halves = (groups.integers.shape[0] + extra) // _LANES
    # (half panel, output, group, eight inputs, first or second four of them, input)
    integers = functional.pad(groups.integers, (0, 0, 0, extra)).view(halves, _LANES, num_groups, -1, 2, 4)
    pairs = (integers[..., 0, :] | (integers[..., 1, :] << 4)).permute(0, 2, 3, 1, 4).flatten(2)
    facts = [
        functional.pad(numbers, (0, 0, 0, extra)).view(halves, _LANES, num_groups).transpose(1, 2).contiguous()
        for numbers in (groups.steps, groups.middles)
    ]
    return _Packed(torch.cat([pairs, *(numbers.view(torch.uint8) for numbers in facts)], 2), groups.integers.shape[1])


def _panels(weight: Tensor, group: int) -> Tensor:
    """(out, in) to (out / PANEL, in / group, PANEL, group)."""
    num_out, num_in = weight.shape
    panels = weight.view(num_out // _PANEL, _PANEL, num_in // group, group)
    return panels.permute(0, 2, 1, 3).contiguous()


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
