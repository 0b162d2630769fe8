import pytest
import torch

from gpt2svc.errors import ModelFormatError
from gpt2svc.models.group_quantization import GROUP_SIZE, quantize_groups, restored


def test_restored_weights_are_within_a_step_or_cut_where_that_costs_less() -> None:
    torch.manual_seed(0)
    weight = torch.randn(40, 3 * GROUP_SIZE) * torch.logspace(-4, 4, 40).unsqueeze(1) + 0.1
    groups = quantize_groups(weight, torch.float32)
    assert groups.integers.dtype == torch.uint8
    assert int(groups.integers.max()) <= 15
    parts = weight.unflatten(1, (-1, GROUP_SIZE))
    spread = parts.amax(2) - parts.amin(2)
    error = (restored(groups) - weight).unflatten(1, (-1, GROUP_SIZE)).square().sum(2)
    plain = GROUP_SIZE * (spread / 15).square() / 12  # of even rounding over the whole range, on average
    assert error.sum() < plain.sum()
    assert (error <= 3 * plain).all()


def test_a_group_with_one_large_weight_keeps_its_others_apart() -> None:
    weight = torch.linspace(-1, 1, GROUP_SIZE).unsqueeze(0)
    weight[0, 3] = 1.6
    error = (restored(quantize_groups(weight, torch.float32)) - weight).square().sum()
    step = 2.6 / 15
    even = ((weight + 1) / step).round() * step - 1
    assert error < (even - weight).square().sum()


def test_integers_are_chosen_for_the_steps_as_they_are_kept() -> None:
    torch.manual_seed(0)
    weight = 5 + torch.randn(64, GROUP_SIZE) * 0.1  # a middle that bfloat16 rounds by a tenth of the spread
    kept = (restored(quantize_groups(weight, torch.bfloat16)).float() - weight).square().mean()
    assert kept < 2 * (restored(quantize_groups(weight, torch.float32)) - weight).square().mean() + 2e-4


def test_inputs_are_filled_up_to_whole_groups_with_zeros() -> None:
    weight = torch.randn(4, GROUP_SIZE + 1)
    whole = restored(quantize_groups(weight, torch.float32))
    assert whole.shape == (4, 2 * GROUP_SIZE)
    assert torch.allclose(whole[:, GROUP_SIZE:].sum(1), weight[:, GROUP_SIZE], atol=0.5)


@pytest.mark.parametrize("value", [0.0, -3.0, 1e-30])
def test_equal_weights_are_exact(value: float) -> None:
    groups = quantize_groups(torch.full((2, GROUP_SIZE), value), torch.float32)
    assert torch.allclose(restored(groups), torch.full((2, GROUP_SIZE), value), atol=1e-30)


def test_weights_that_are_no_numbers_are_refused() -> None:
    weight = torch.ones(4, GROUP_SIZE)
    weight[2, 1] = torch.nan
    with pytest.raises(ModelFormatError, match="can't be quantised"):
        quantize_groups(weight, torch.float32)
