import pytest
import torch

from gpt2svc.models.config import ACTIVATIONS
from gpt2svc.models.linear import activation_function
from gpt2svc.models.row_activation import row_activation


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_is_that_of_its_name(name: str) -> None:
    x = torch.cat([torch.linspace(-30, 30, 5001), torch.tensor([-1e30, -0.0, 0.0, 1e30])])
    expected = activation_function(name)(x.double())  # type: ignore[misc]
    torch.testing.assert_close(row_activation(name)(x.clone()).double(), expected, rtol=2e-6, atol=2e-6)  # type: ignore[misc]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_bits_of_an_element_do_not_depend_on_where_it_stands(name: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(40_000) * 4
    function = row_activation(name)
    before = torch.get_num_threads()
    results = []
    try:
        for num_threads in (1, 3):
            torch.set_num_threads(num_threads)
            results.append(function(x.clone()))  # type: ignore[misc]
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0], results[1])
    for start in (0, 1, 7, 33):
        for length in (1, 3, 17, 31, 100):
            piece = x[start : start + length].clone()
            assert torch.equal(function(piece), results[0][start : start + length])  # type: ignore[misc]


def test_no_name_is_no_activation() -> None:
    assert row_activation(None) is None
