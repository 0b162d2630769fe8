"""PackedWeights: a layer's weights in the panels that csrc/matmul.h reads."""

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from gpt2svc.models.native.structures import Kind, LinearStruct
from gpt2svc.models.row_quantization import require_finite

_PANEL: Final = 32
_GROUPS: Final = {Kind.FLOAT32: 1, Kind.BFLOAT16: 2, Kind.INT8: 4}
_DTYPES: Final = {Kind.FLOAT32: torch.float32, Kind.BFLOAT16: torch.bfloat16, Kind.INT8: torch.int8}
_INT8_MAX: Final = 127


class PackedWeights:
    """Weights (out, in) and a bias (out,), held as a Kind. `struct` points into tensors that live as long as this."""

    def __init__(self, weight: Tensor, bias: Tensor | None, kind: Kind) -> None:
        """Raises ModelFormatError where numbers that aren't finite can't be quantised."""
        num_out, num_in = weight.shape
        weight = weight.float()
        scales = None
        if kind == Kind.INT8:
            require_finite(weight)
            scales = weight.abs().amax(1) / _INT8_MAX
            divisor = torch.where(scales > 0, scales, 1.0).unsqueeze(1)
            weight = (weight / divisor).round_().clamp_(-_INT8_MAX, _INT8_MAX)
        extra = -num_out % _PANEL
        self._panels = _panels(functional.pad(weight, (0, 0, 0, extra)).to(_DTYPES[kind]), _GROUPS[kind])
        self._bias = None if bias is None else functional.pad(bias.float(), (0, extra)).contiguous()
        self._scales = None if scales is None else functional.pad(scales, (0, extra)).contiguous()
        self._offsets = None
        if kind == Kind.INT8:
            sums = functional.pad(weight.sum(1), (0, extra))
            self._offsets = (128 * sums).to(torch.int32).contiguous()
        self.struct = LinearStruct(
            panels=self._panels.data_ptr(),
            bias=_pointer(self._bias),
            scales=_pointer(self._scales),
            offsets=_pointer(self._offsets),
            num_in=num_in,
            num_out=num_out,
            kind=kind,
        )
        tensors = (self._panels, self._bias, self._scales, self._offsets)
        self.num_bytes = sum(tensor.nbytes for tensor in tensors if tensor is not None)


def _panels(weight: Tensor, group: int) -> Tensor:
    """(out, in) to (out / PANEL, in / group, PANEL, group)."""
    num_out, num_in = weight.shape
    panels = weight.view(num_out // _PANEL, _PANEL, num_in // group, group)
    return panels.permute(0, 2, 1, 3).contiguous()


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
