"""From floating-point rows to integers with one scale a row: of weights at load, in bounded memory."""

from typing import Final

import torch
from torch import Tensor

from gpt2svc.errors import ModelFormatError

INT8_MAX: Final = 127

_CHUNK_ELEMENTS: Final = 1 << 20  # of weights that are worked on at a time


def quantize_rows(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (out, in) to int8 (out, in) and float32 scales (out,): weight is about integer * scale.

    Symmetric, so that zero stays zero; a row of zeros has the scale 1. Raises ModelFormatError where a weight is not
    a finite number.
    """
    values = torch.empty(weight.shape, dtype=torch.int8, device=weight.device)
    scales = torch.empty(weight.shape[0], dtype=torch.float32, device=weight.device)
    step = max(1, _CHUNK_ELEMENTS // weight.shape[1])
    for start in range(0, weight.shape[0], step):
        rows = weight[start : start + step].to(torch.float32)
        require_finite(rows)
        largest = rows.abs().amax(1)
        scale = torch.where(largest > 0, largest / INT8_MAX, 1.0)
        scales[start : start + step] = scale
        values[start : start + step] = (rows / scale.unsqueeze(1)).round().clamp(-INT8_MAX, INT8_MAX)
    return values, scales


def require_finite(tensor: Tensor) -> None:
    """Raises ModelFormatError: an integer can't say that it is infinite or no number, so it would be a wrong one."""
    if not bool(torch.isfinite(tensor).all()):
        raise ModelFormatError(
            "The model's weights hold infinities or values that are no numbers, which can't be quantised.",
            field="quantize",
        )
