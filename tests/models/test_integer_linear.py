import pytest
import torch

from gpt2svc.models.integer_linear import IntegerLinear
from gpt2svc.models.row_quantization import quantize_rows


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_product_is_that_of_the_rounded_weights(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    weight, bias = torch.randn(50, 40), torch.randn(50)
    x, residual = torch.randn(8, 40).to(dtype), torch.randn(8, 50).to(dtype)
    values, scales = quantize_rows(weight)
    expected = torch.tanh(x.double() @ (values.double() * scales.to(dtype).double().unsqueeze(1)).t() + bias.to(dtype))
    layer = IntegerLinear(weight, bias, dtype, "tanh")
    tolerance = 1e-5 if dtype == torch.float32 else 0.05
    assert layer(x).dtype == dtype
    torch.testing.assert_close(layer(x).double(), expected, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(
        layer.added_to(residual, x).double(), expected + residual, rtol=tolerance, atol=tolerance
    )


def test_memory_is_a_byte_a_weight() -> None:
    assert IntegerLinear(torch.ones(256, 1024), None, torch.bfloat16).num_bytes < 1.01 * 256 * 1024
