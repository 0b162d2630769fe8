"""From floating-point weights to 4-bit integers, with a step and a middle for each group of inputs."""

from typing import Final, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from gpt2svc.models.row_quantization import require_finite

GROUP_SIZE: Final = 32  # inputs; larger groups save memory (32 cost a fifth more bits) and cost accuracy

_MIDDLE: Final = 8
_LARGEST: Final = 15
_CHUNK_ELEMENTS: Final = 1 << 20  # of weights that are worked on at a time
# Parts of a group's range that are tried: a weight cut off may cost less than larger steps for all the others.
_SHARES: Final = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7)


class Groups(NamedTuple):
    """weight[o, g * GROUP_SIZE + i] is about (integers[o, g * GROUP_SIZE + i] - 8) * steps[o, g] + middles[o, g]."""

    integers: Tensor  # (out, in), uint8, 0 to 15
    steps: Tensor  # (out, groups), of the dtype asked for
    middles: Tensor


def quantize_groups(weight: Tensor, dtype: torch.dtype) -> Groups:
    """Weights (out, in) to groups; where `in` is no multiple of GROUP_SIZE, weights of zero are put behind.

    Each group takes the range with the least squared error. Steps and middles are of `dtype`, and the integers are
    chosen for them as they are after rounding. Raises ModelFormatError where a weight is not a finite number.
    """
    weight = functional.pad(weight, (0, -weight.shape[1] % GROUP_SIZE))
    num_out, num_in = weight.shape
    shape = (num_out, num_in // GROUP_SIZE)
    integers = torch.empty((num_out, num_in), dtype=torch.uint8, device=weight.device)
    steps, middles = (torch.empty(shape, dtype=dtype, device=weight.device) for _ in range(2))
    rows = max(1, _CHUNK_ELEMENTS // num_in)
    for start in range(0, num_out, rows):
        part = slice(start, start + rows)
        groups = weight[part].to(torch.float32).reshape(-1, shape[1], GROUP_SIZE)
        require_finite(groups)
        best = _best(groups, dtype)
        integers[part], steps[part], middles[part] = best.integers.flatten(1), best.steps, best.middles
    return Groups(integers, steps, middles)


def restored(groups: Groups) -> Tensor:
    """The weights (out, in) that the groups stand for, in the dtype of their steps."""
    integers = groups.integers.view(*groups.steps.shape, GROUP_SIZE).to(groups.steps.dtype) - _MIDDLE
    return torch.addcmul(groups.middles.unsqueeze(2), integers, groups.steps.unsqueeze(2)).flatten(1)


def _best(groups: Tensor, dtype: torch.dtype) -> Groups:
    """Of weights (rows, groups, GROUP_SIZE): integers of the same shape, steps and middles (rows, groups)."""
    low, high = groups.amin(2), groups.amax(2)
    center, half = (low + high) / 2, (high - low) / 2
    found: Groups | None = None
    least = torch.empty(0)
    for share in _SHARES:
        # A group of equal weights has no range: any step will do.
        steps = (half * (2 * share / _LARGEST)).clamp(min=torch.finfo(torch.float32).tiny).to(dtype)
        middles = (center + steps / 2).to(dtype)  # 8 of 0 to 15 is half a step above the centre
        scaled = (groups - middles.float().unsqueeze(2)) / steps.float().unsqueeze(2)
        integers = (scaled + _MIDDLE).round().clamp(0, _LARGEST)
        error = ((integers - _MIDDLE - scaled) * steps.float().unsqueeze(2)).square().sum(2)
        candidate = Groups(integers.to(torch.uint8), steps, middles)
        if found is None:
            found, least = candidate, error
            continue
        is_better = error < least
        least = torch.where(is_better, error, least)
        found = Groups(
            torch.where(is_better.unsqueeze(2), candidate.integers, found.integers),
            torch.where(is_better, steps, found.steps),
            torch.where(is_better, middles, found.middles),
        )
    if found is None:
        raise ValueError("There are no shares to try.")
    return found
