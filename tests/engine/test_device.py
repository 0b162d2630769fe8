import pytest
import torch

from gpt2svc.engine.device import resolve_device, resolve_dtype, set_num_threads
from gpt2svc.errors import ConfigError
from gpt2svc.models.linear import can_pack

CPU = torch.device("cpu")
no_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
no_mps = pytest.mark.skipif(torch.backends.mps.is_available(), reason="this machine has Metal")


def test_auto_is_a_device_that_works() -> None:
    assert torch.ones(1, device=resolve_device("auto")).item() == 1


def test_cpu_is_always_there() -> None:
    assert resolve_device("cpu") == CPU


@no_cuda
@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_missing_gpu_is_an_error_that_says_so(name: str) -> None:
    with pytest.raises(ConfigError, match="no CUDA GPU") as caught:
        resolve_device(name)
    assert caught.value.field == "device"


@no_mps
def test_missing_metal_is_an_error_that_says_so() -> None:
    with pytest.raises(ConfigError, match="Metal"):
        resolve_device("mps")


@pytest.mark.parametrize("name", ["", "gpu", "meta", "cuda:x", "xla"])
def test_unknown_device_is_an_error_that_names_the_known(name: str) -> None:
    with pytest.raises(ConfigError, match="'auto', 'cpu', 'cuda'"):
        resolve_device(name)


def test_dtypes_follow_the_device() -> None:
    assert resolve_dtype("auto", CPU) == torch.float32
    assert resolve_dtype("bfloat16", CPU) == torch.bfloat16
    assert resolve_dtype("float16", torch.device("cuda", 0)) == torch.float16
    for name, device in (("float16", CPU), ("int8", CPU), ("", CPU)):
        with pytest.raises(ConfigError, match="dtype"):
            resolve_dtype(name, device)


def test_attention_of_a_quantised_model_is_bfloat16_where_the_processor_has_it() -> None:
    cpu = torch.device("cpu")
    expected = torch.bfloat16 if can_pack(cpu, torch.bfloat16) else torch.float32
    assert resolve_dtype("auto", cpu, "int8") == expected
    assert resolve_dtype("float32", cpu, "int8") == torch.float32


def test_number_of_threads_is_set_and_never_zero() -> None:
    before = torch.get_num_threads()
    try:
        assert set_num_threads(2) == torch.get_num_threads() == 2
        assert 1 <= set_num_threads(None) <= 2
    finally:
        torch.set_num_threads(before)
