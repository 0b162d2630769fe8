"""Linear layers of 8-bit weights by torch's own operators: any device, any build."""

import torch
from torch import Tensor
from torch.nn import functional

from gpt2svc.models.linear import activation_function
from gpt2svc.models.row_quantization import quantize_rows


class IntegerLinear:
    """Weights are turned back into the dtype of the rows for each product: memory is saved, not time."""

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, activation: str | None = None) -> None:
        self._weight, scales = quantize_rows(weight)
        self._scales = scales.to(dtype)
        self._bias = torch.zeros((), dtype=dtype, device=weight.device) if bias is None else bias.to(dtype)
        self._activation = activation_function(activation)
        self.num_bytes = self._weight.nbytes + self._scales.nbytes + self._bias.nbytes

    def __call__(self, x: Tensor) -> Tensor:
        y = torch.addcmul(self._bias, functional.linear(x, self._weight.to(x.dtype)), self._scales)
        return y if self._activation is None else self._activation(y)

    def added_to(self, residual: Tensor, x: Tensor) -> Tensor:
        return residual + self(x)
