"""Linear layers in the layout that serving wants: weights reordered once, activation and residual fused."""

from collections.abc import Callable
from typing import Final, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from gpt2svc.models.rounding import round_up

# oneDNN multiplies by weights packed for about this many rows at the speed of memory from 1 row to hundreds; measured
# against hints of 1 and 64 on GPT-2's shapes.
_PACK_ROWS: Final = 16

# (up to this many rows, the row count is a multiple of this)
_ROW_STEPS: Final = ((32, 4), (128, 16))
_LAST_ROW_STEP: Final = 64

# The activation names of config.json, as oneDNN's (name, algorithm).
_FUSED: Final = {
    None: ("none", ""),
    "gelu_new": ("gelu", "tanh"),
    "gelu": ("gelu", "none"),
    "relu": ("relu", ""),
    "silu": ("swish", ""),
    "tanh": ("tanh", ""),
}


class Linear(Protocol):
    """activation(x @ weight.T + bias) of rows x (N, in), where N is a result of `padded_rows`."""

    num_bytes: int

    def __call__(self, x: Tensor) -> Tensor:
        """(N, in) to (N, out)."""
        ...

    def added_to(self, residual: Tensor, x: Tensor) -> Tensor:
        """residual (N, out) + self(x); only of layers without an activation."""
        ...


class PlainLinear:
    """By torch's own operators: any device, any build."""

    def __init__(self, weight: Tensor, bias: Tensor | None, activation: str | None = None) -> None:
        self._weight = weight
        self._bias = bias
        self._activation = activation_function(activation)
        self.num_bytes = weight.nbytes + (0 if bias is None else bias.nbytes)

    def __call__(self, x: Tensor) -> Tensor:
        y = functional.linear(x, self._weight, self._bias)
        return y if self._activation is None else self._activation(y)

    def added_to(self, residual: Tensor, x: Tensor) -> Tensor:
        return residual + functional.linear(x, self._weight, self._bias)


class PackedLinear:
    """By oneDNN, from weights in its own order: the operators that TorchInductor emits for frozen weights.

    Twice as fast as `functional.linear` at few rows, where reading the weights is all the work, and each row's bits do
    not depend on the rows beside it.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, activation: str | None = None) -> None:
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), _PACK_ROWS)
        self._bias = bias
        self._name, self._algorithm = _FUSED[activation]
        self._linear = torch.ops.mkldnn._linear_pointwise.default
        self._linear_add = torch.ops.mkldnn._linear_pointwise.binary
        self.num_bytes = weight.nbytes + (0 if bias is None else bias.nbytes)

    def __call__(self, x: Tensor) -> Tensor:
        y: Tensor = self._linear(x, self._weight, self._bias, self._name, [], self._algorithm)
        return y

    def added_to(self, residual: Tensor, x: Tensor) -> Tensor:
        y: Tensor = self._linear_add(x, residual, self._weight, self._bias, "add")
        return y


def padded_rows(num_rows: int) -> int:
    """The next row count that the matrix products are used with.

    Below four rows the float32 kernels round in another way, and are no faster; and oneDNN compiles a kernel for each
    new shape (about a millisecond each, and the oldest of a thousand is dropped), so that there had better be few.
    """
    step = next((step for limit, step in _ROW_STEPS if num_rows <= limit), _LAST_ROW_STEP)
    return round_up(num_rows, step)


def new_linear(weight: Tensor, bias: Tensor | None, activation: str | None = None) -> Linear:
    """The fastest kind for the device and dtype of `weight` (out, in)."""
    if can_pack(weight.device, weight.dtype):
        return PackedLinear(weight, bias, activation)
    return PlainLinear(weight.contiguous(), bias, activation)


def can_pack(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether this build and processor have oneDNN's packed linear layers for the dtype."""
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    try:
        if dtype == torch.bfloat16:
            return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
        return dtype == torch.float32 and hasattr(torch.ops.mkldnn._linear_pointwise, "binary")
    except (AttributeError, RuntimeError):  # an older or smaller build without these operators
        return False


def activation_function(name: str | None) -> Callable[[Tensor], Tensor] | None:
    """Of config.json's `activation_function`; None where there is none."""
    if name is None:
        return None
    functions: dict[str, Callable[[Tensor], Tensor]] = {
        "gelu_new": lambda x: functional.gelu(x, approximate="tanh"),
        "gelu": functional.gelu,
        "relu": functional.relu,
        "silu": functional.silu,
        "tanh": torch.tanh,
    }
    return functions[name]
