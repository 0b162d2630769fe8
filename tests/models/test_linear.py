import pytest
import torch

from gpt2svc.models.config import ACTIVATIONS
from gpt2svc.models.linear import PackedLinear, PlainLinear, activation_function, can_pack, new_linear, padded_rows

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
needs_onednn = pytest.mark.skipif(not can_pack(CPU, torch.float32), reason="this build of torch has no oneDNN")


@needs_onednn
@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
def test_packed_layer_computes_what_the_plain_one_does(activation: str | None) -> None:
    torch.manual_seed(0)
    weight, bias, x = torch.randn(50, 40), torch.randn(50), torch.randn(8, 40)
    packed = PackedLinear(weight, bias, activation)(x)
    torch.testing.assert_close(packed, PlainLinear(weight, bias, activation)(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", [PlainLinear, pytest.param(PackedLinear, marks=needs_onednn)])
def test_residual_is_added(kind: type[PlainLinear] | type[PackedLinear]) -> None:
    torch.manual_seed(0)
    weight, bias, x, residual = torch.randn(50, 40), torch.randn(50), torch.randn(4, 40), torch.randn(4, 50)
    expected = residual + x @ weight.t() + bias
    torch.testing.assert_close(kind(weight, bias).added_to(residual, x), expected, rtol=1e-5, atol=1e-5)


@needs_onednn
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_row_of_a_packed_layer_does_not_depend_on_its_batch(dtype: torch.dtype) -> None:
    if not can_pack(CPU, dtype):
        pytest.skip("this processor has no bfloat16 products")
    torch.manual_seed(0)
    layer = PackedLinear(torch.randn(300, 192).to(dtype), torch.randn(300).to(dtype), "gelu_new")
    x = torch.randn(256, 192).to(dtype)
    fours = torch.cat([layer(rows) for rows in x.split(4)])
    for num_rows in (8, 12, 32, 48, 128, 192, 256):
        assert torch.equal(layer(x[:num_rows]), fours[:num_rows])


def test_layers_fall_back_where_packing_is_not_possible() -> None:
    assert not can_pack(torch.device("meta"), torch.float32)
    assert not can_pack(CPU, torch.float16)
    assert isinstance(new_linear(torch.ones(4, 4, device="meta"), None), PlainLinear)


def test_row_counts_are_few_and_never_below_four() -> None:
    assert [padded_rows(n) for n in (1, 4, 5, 32, 33, 128, 129, 500)] == [4, 4, 8, 32, 48, 128, 192, 512]
    assert len({padded_rows(n) for n in range(1, 513)}) < 25


def test_every_activation_of_a_config_has_a_function() -> None:
    for name in ACTIVATIONS:
        assert activation_function(name)(torch.ones(1)).shape == (1,)  # type: ignore[misc]
