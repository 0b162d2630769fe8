"""Which device, dtype and number of threads a model runs with."""

import os
from typing import Final

import torch

from gpt2svc.errors import ConfigError
from gpt2svc.models.linear import can_pack
from gpt2svc.models.quantization import QUANTIZATIONS, Quantization

_DTYPES: Final = ("float32", "bfloat16", "float16")


def resolve_device(name: str) -> torch.device:
    """ "auto" is CUDA, then MPS, then the CPU; else a torch device such as "cpu", "cuda", "cuda:1" or "mps".

    Raises ConfigError for one that this machine or this build of torch hasn't got.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type == "cpu":
        return torch.device("cpu")
    if device.type == "mps":
        if torch.backends.mps.is_available():
            return torch.device("mps")
        raise ConfigError("device is 'mps', but Metal is not available here: use 'auto' or 'cpu'.", field="device")
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise ConfigError(
                f"device is {name!r}, but torch finds no CUDA GPU here: use 'auto' or 'cpu'.", field="device"
            )
        index = torch.cuda.current_device() if device.index is None else device.index
        if index >= torch.cuda.device_count():
            raise ConfigError(
                f"device is {name!r}, but there are only {torch.cuda.device_count()} GPUs, counted from 0.",
                field="device",
            )
        return torch.device("cuda", index)
    raise ConfigError(f"device must be 'auto', 'cpu', 'cuda', 'cuda:<n>' or 'mps', not {name!r}.", field="device")


def resolve_dtype(name: str, device: torch.device, quantize: Quantization = "none") -> torch.dtype:
    """ "auto" is bfloat16 on CUDA and float32 elsewhere, but for quantised weights bfloat16 where the processor has it.

    Raises ConfigError, also for a `quantize` that there isn't.
    """
    if quantize not in QUANTIZATIONS:
        raise ConfigError(f"quantize must be one of {', '.join(QUANTIZATIONS)}, not {quantize!r}.", field="quantize")
    if name == "auto":
        if quantize != "none" and device.type == "cpu" and can_pack(device, torch.bfloat16):
            return torch.bfloat16  # of the attention and its cache: half the memory, and less than the weights lost
        if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
            return torch.bfloat16
        return torch.float32
    if name not in _DTYPES:
        raise ConfigError(f"dtype must be 'auto' or one of {', '.join(_DTYPES)}, not {name!r}.", field="dtype")
    if name == "float16" and device.type == "cpu":
        raise ConfigError("dtype 'float16' is for GPUs: on a CPU use 'float32' or 'bfloat16'.", field="dtype")
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def set_num_threads(num_threads: int | None) -> int:
    """Use this many threads for matrix products, by default one a processor core that this process may use.

    For the whole process: a worker calls it once, before its first product. Returns the number.
    """
    if num_threads is None:
        # torch's own count is that of physical cores, of the whole machine: containers and taskset allow fewer.
        allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        num_threads = max(1, min(torch.get_num_threads(), allowed, _cpu_quota() or allowed))
    torch.set_num_threads(num_threads)
    return num_threads


def _cpu_quota() -> int | None:
    """Whole CPUs that the control group allows (`docker run --cpus`), or None where there is no limit."""
    try:
        with open("/sys/fs/cgroup/cpu.max", encoding="ascii") as file:
            quota, period = file.read().split()
        return None if quota == "max" else max(1, round(int(quota) / int(period)))
    except (OSError, ValueError):
        return None
