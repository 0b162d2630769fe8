import pytest
import torch

from gpt2svc.errors import ModelFormatError
from gpt2svc.models import row_quantization
from gpt2svc.models.row_quantization import quantize_rows, require_finite


def test_each_weight_is_within_half_a_step_of_its_row() -> None:
    torch.manual_seed(0)
    weight = torch.randn(50, 70) * torch.logspace(-6, 6, 50).unsqueeze(1)
    values, scales = quantize_rows(weight)
    assert values.dtype == torch.int8
    assert values.abs().amax(1).eq(127).all()
    error = (values.double() * scales.double().unsqueeze(1) - weight.double()).abs()
    assert (error <= 0.5001 * scales.unsqueeze(1)).all()


def test_rows_of_zeros_stay_zero() -> None:
    values, scales = quantize_rows(torch.zeros(3, 5))
    assert not values.any()
    assert torch.equal(scales, torch.ones(3))


def test_weights_too_large_for_one_piece_come_out_the_same() -> None:
    torch.manual_seed(0)
    width = row_quantization._CHUNK_ELEMENTS // 2
    weight = torch.randn(5, width)
    values, scales = quantize_rows(weight)
    for i in range(5):
        own_values, own_scale = quantize_rows(weight[i : i + 1])
        assert torch.equal(values[i], own_values[0])
        assert scales[i] == own_scale[0]


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_weights_that_are_no_numbers_are_refused(value: float) -> None:
    weight = torch.ones(4, 4)
    weight[2, 1] = value
    for refuse in (quantize_rows, require_finite):
        with pytest.raises(ModelFormatError, match="can't be quantised") as caught:
            refuse(weight)
        assert caught.value.field == "quantize"
