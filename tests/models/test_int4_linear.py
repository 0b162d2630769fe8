import pytest
import torch

from gpt2svc.models.group_quantization import quantize_groups, restored
from gpt2svc.models.int4_linear import Int4Linear, RestoredInt4Linear, can_multiply_int4
from tests.models.row_invariance import check_rows_alone_and_in_batches

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
SHAPES = [(64, 64), (50, 40), (300, 193)]

needs_product = pytest.mark.skipif(not can_multiply_int4(CPU), reason="this build has no 4-bit product")


@needs_product
@pytest.mark.parametrize(("num_out", "num_in"), SHAPES)
def test_product_is_that_of_the_restored_weights(num_out: int, num_in: int) -> None:
    torch.manual_seed(0)
    weight, bias, x, residual = (
        torch.randn(num_out, num_in),
        torch.randn(num_out),
        torch.randn(8, num_in),
        torch.randn(8, num_out),
    )
    exact = restored(quantize_groups(weight, torch.bfloat16))[:, :num_in].double()
    expected = x.bfloat16().double() @ exact.t() + bias
    layer = Int4Linear(weight, bias)
    largest = expected.abs().max()
    assert ((layer(x) - expected).abs() <= 0.01 * largest).all()
    assert ((layer.added_to(residual, x) - expected - residual).abs() <= 0.01 * largest).all()


@needs_product
def test_row_does_not_depend_on_its_batch() -> None:
    torch.manual_seed(0)
    layer = Int4Linear(torch.randn(301, 192), torch.randn(301), "gelu_new")
    check_rows_alone_and_in_batches(layer, num_in=192, num_out=301)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("num_out", "num_in"), SHAPES)
def test_restored_layer_computes_with_the_same_weights(num_out: int, num_in: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    weight, bias, x, residual = (
        torch.randn(num_out, num_in),
        torch.randn(num_out),
        torch.randn(8, num_in).to(dtype),
        torch.randn(8, num_out).to(dtype),
    )
    exact = restored(quantize_groups(weight, dtype))[:, :num_in].double()
    expected = torch.relu(x.double() @ exact.t() + bias.to(dtype))
    tolerance = 1e-5 if dtype == torch.float32 else 0.02
    layer = RestoredInt4Linear(weight, bias, dtype, "relu")
    assert layer(x).dtype == dtype
    assert ((layer(x) - expected).abs() <= tolerance * expected.abs().max()).all()
    assert ((layer.added_to(residual, x) - expected - residual).abs() <= tolerance * expected.abs().max()).all()


@needs_product
def test_memory_is_five_bits_a_weight() -> None:
    weight = torch.ones(256, 1024)
    for layer in (Int4Linear(weight, None), RestoredInt4Linear(weight, None, torch.bfloat16)):
        assert layer.num_bytes * 8 < 5.1 * weight.numel()


def test_other_devices_have_no_such_product() -> None:
    assert not can_multiply_int4(torch.device("meta"))
