import pytest
import torch

from gpt2svc.models.int8_linear import Int8Linear, can_multiply_int8
from gpt2svc.models.row_quantization import quantize_rows
from tests.models.row_invariance import check_rows_alone_and_in_batches

CPU = torch.device("cpu")

pytestmark = [
    pytest.mark.skipif(not can_multiply_int8(CPU), reason="this processor has no int8 dot products"),
    pytest.mark.usefixtures("one_thread"),
]


def _rounded(x: torch.Tensor) -> torch.Tensor:
    """Rows as 256 even steps from their minimum to their maximum, in float64."""
    x = x.double()
    low, high = x.amin(1, keepdim=True), x.amax(1, keepdim=True)
    step = (high - low).clamp(min=1e-30) / 255
    return low + ((x - low) / step).round() * step


@pytest.mark.parametrize(("num_out", "num_in"), [(50, 40), (97, 61), (300, 194), (64, 3072)])
def test_product_is_that_of_the_rounded_weights_and_rows(num_out: int, num_in: int) -> None:
    torch.manual_seed(0)
    weight, bias, x, residual = (
        torch.randn(num_out, num_in),
        torch.randn(num_out),
        torch.randn(8, num_in) * torch.logspace(-3, 3, 8).unsqueeze(1) + 0.5,
        torch.randn(8, num_out),
    )
    values, scales = quantize_rows(weight)
    # A padded row has zeros in it, which its range must then include.
    rows = torch.nn.functional.pad(x, (0, -num_in % 4))
    expected = _rounded(rows)[:, :num_in] @ (values.double() * scales.double().unsqueeze(1)).t() + bias
    layer = Int8Linear(weight, bias)
    largest = expected.abs().amax(1, keepdim=True)
    # One input in 256 may fall to the other side of a step.
    assert ((layer(x).double() - expected).abs() <= 2e-3 * largest).all()
    assert ((layer.added_to(residual, x) - layer(x) - residual).abs() <= 1e-5 * largest + 1e-5).all()


def test_row_does_not_depend_on_its_batch() -> None:
    torch.manual_seed(0)
    layer = Int8Linear(torch.randn(301, 192), torch.randn(301), "gelu_new")
    check_rows_alone_and_in_batches(layer, num_in=192, num_out=301)
    x = torch.randn(8, 192)
    outlier = x.clone()
    outlier[3] *= 1000
    assert torch.equal(layer(outlier)[4:], layer(x)[4:])


def test_sums_of_the_largest_values_are_not_cut() -> None:
    layer = Int8Linear(torch.ones(16, 512), None)
    x = torch.full((4, 512), 7.0)
    x[:, 0] = 0.0  # so that the others are 255
    assert torch.allclose(layer(x), torch.full((4, 16), 7.0 * 511), rtol=1e-5)


def test_constant_rows_are_exact() -> None:
    layer = Int8Linear(torch.ones(4, 8), torch.ones(4))
    assert torch.equal(layer(torch.zeros(4, 8)), torch.ones(4, 4))
    assert torch.allclose(layer(torch.full((4, 8), -2.5)), torch.full((4, 4), -19.0))


def test_rows_that_are_no_numbers_stay_so() -> None:
    y = Int8Linear(torch.ones(4, 8), torch.ones(4))(torch.full((4, 8), torch.nan))
    assert y.isnan().all()


def test_a_quarter_of_the_memory_of_float32() -> None:
    assert Int8Linear(torch.ones(256, 1024), None).num_bytes < 0.27 * 256 * 1024 * 4


def test_other_devices_have_no_such_products() -> None:
    assert not can_multiply_int8(torch.device("meta"))
