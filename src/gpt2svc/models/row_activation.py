"""Activations of rows from operators that treat an element alike wherever it stands.

torch's own fused activations compute the last elements of a stretch of memory by other instructions than the rest, so
that their bits depend on how many rows there are. The operators here (sums, products, exp, erf, tanh) don't.
"""

import math
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

_GELU_SLOPE: Final = -2.0 * math.sqrt(2.0 / math.pi)
_GELU_CUBIC: Final = 0.044715


def row_activation(name: str | None) -> Callable[[Tensor], Tensor] | None:
    """Of config.json's `activation_function`, for float32; None where there is none. May change its argument."""
    if name is None:
        return None
    functions: dict[str, Callable[[Tensor], Tensor]] = {
        "gelu_new": _gelu_new,
        "gelu": lambda x: torch.mul(x, 0.5).mul_(torch.erf(x * math.sqrt(0.5)).add_(1.0)),
        "relu": torch.relu_,
        "silu": lambda x: _divided(x, torch.neg(x)),
        "tanh": torch.tanh_,
    }
    return functions[name]


def _gelu_new(x: Tensor) -> Tensor:
    """x / (1 + exp(-2 sqrt(2/pi) (x + 0.044715 x³))): the same as half of x times 1 + tanh of half of that."""
    exponent = torch.addcmul(x.new_full((), _GELU_SLOPE), x, x, value=_GELU_SLOPE * _GELU_CUBIC).mul_(x)
    return _divided(x, exponent)


def _divided(x: Tensor, exponent: Tensor) -> Tensor:
    """x / (1 + exp(exponent)), in the memory of `exponent`."""
    divisor = exponent.exp_().add_(1.0)
    return torch.div(x, divisor, out=divisor)
