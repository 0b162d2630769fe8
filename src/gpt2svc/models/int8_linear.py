"""Linear layers of 8-bit integers on the CPU: a scale for each output, a scale and a minimum for each row."""

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from gpt2svc.models.row_activation import row_activation
from gpt2svc.models.row_quantization import quantize_rows

# A quantised row: its integers, then its scale and its minimum as float32.
_ROW_FACTS: Final = 8
_FLOAT_BYTES: Final = 4

_SUMMED_ROWS: Final = 1024  # of weights at a time: in between they take eight times the memory


class Int8Linear:
    """By oneDNN's integer products, for float32 rows.

    A row becomes integers 0 to 255, x = minimum + integer * scale, by itself, in one operator, so its result has the
    same bits in any company: sums of integers are exact, and what follows is done element by element. The eight bytes
    of scale and minimum that the operator leaves behind the integers go through the product as well, by weights of
    zero: cheaper than a copy without them.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, activation: str | None = None) -> None:
        num_out, num_in = weight.shape
        values, scales = quantize_rows(weight)
        self._padding = -num_in % _FLOAT_BYTES
        self._num_columns = num_in + self._padding
        wide = torch.zeros((num_out, self._num_columns + _ROW_FACTS), dtype=torch.int8)
        wide[:, :num_in] = values
        self._weight = torch.ops.onednn.qlinear_prepack(wide, None)
        self._scales = scales
        self._zero_points = torch.zeros(num_out, dtype=torch.int32)
        # What an input of 1 in every column brings: the row's minimum is such an input.
        sums = torch.cat([part.sum(1, dtype=torch.int64) for part in torch.split(values, _SUMMED_ROWS)])
        self._sums = (sums.double() * scales.double()).float()
        self._bias = torch.zeros(()) if bias is None else bias.float()
        self._activation = row_activation(activation)
        self._split = [self._num_columns // _FLOAT_BYTES, 1, 1]
        self._quantize = torch.ops.quantized.embedding_bag_byte_prepack.default
        self._multiply = torch.ops.onednn.qlinear_pointwise.default
        self.num_bytes = wide.nbytes + sum(
            tensor.nbytes for tensor in (scales, self._zero_points, self._sums, self._bias)
        )

    def __call__(self, x: Tensor) -> Tensor:
        product, scale, minimum = self._product(x)
        y = torch.addcmul(self._bias, minimum, self._sums).addcmul_(product, scale)
        return y if self._activation is None else self._activation(y)

    def added_to(self, residual: Tensor, x: Tensor) -> Tensor:
        product, scale, minimum = self._product(x)
        return torch.addcmul(residual, minimum, self._sums).addcmul_(product, scale).add_(self._bias)

    def _product(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The integers' products (N, out), times the weights' scales; the rows' scales and minima (N, 1)."""
        if self._padding:
            x = functional.pad(x, (0, self._padding))
        rows = self._quantize(x)
        _, scale, minimum = rows.view(torch.float32).split_with_sizes(self._split, 1)
        product: Tensor = self._multiply(
            rows, 1.0, 0, self._weight, self._scales, self._zero_points, None, 1.0, 0, torch.float32, "none", [], ""
        )
        return product, scale, minimum


def can_multiply_int8(device: torch.device) -> bool:
    """Whether this build and processor have the products that Int8Linear needs, exact over the whole range.

    Tried out rather than looked up: without dot-product instructions sums of two products may be cut at 16 bits.
    """
    if device.type != "cpu":
        return False
    rows = torch.full((4, 72), 255, dtype=torch.uint8)
    weight = torch.full((32, 72), 127, dtype=torch.int8)
    weight[1::2] = -127
    try:
        packed = torch.ops.onednn.qlinear_prepack(weight, None)
        product = torch.ops.onednn.qlinear_pointwise.default(
            rows, 1.0, 0, packed, torch.ones(32), torch.zeros(32, dtype=torch.int32), None, 1.0, 0, torch.float32,
            "none", [], "",
        )  # fmt: skip
        quantized = torch.ops.quantized.embedding_bag_byte_prepack.default(torch.ones(4, 8))
    except (AttributeError, RuntimeError, TypeError):  # an older or smaller build without these operators
        return False
    expected = rows.double() @ weight.double().t()
    return bool(torch.equal(product.double(), expected)) and quantized.shape == (4, 8 + _ROW_FACTS)
