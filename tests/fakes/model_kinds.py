"""The kinds of arithmetic that a model can be loaded with on the CPU, for tests that hold for each of them."""

from typing import Final, NamedTuple

import torch

from gpt2svc.models.folder import ModelFolder
from gpt2svc.models.gpt2 import GPT2
from gpt2svc.models.loading import load_model
from gpt2svc.models.native.gpt2 import NativeGPT2
from gpt2svc.models.native.library import NativeLibrary
from gpt2svc.models.quantization import Quantization


class ModelKind(NamedTuple):
    dtype: torch.dtype
    quantize: Quantization = "none"
    is_native: bool = False


_TORCH_KINDS: Final = {
    "float32": ModelKind(torch.float32),
    "bfloat16": ModelKind(torch.bfloat16),
    "int8": ModelKind(torch.bfloat16, "int8"),
    "int4": ModelKind(torch.float32, "int4"),
}

_NATIVE_KINDS: Final = {
    "native float32": ModelKind(torch.float32, is_native=True),
    "native bfloat16": ModelKind(torch.bfloat16, is_native=True),
    "native int8": ModelKind(torch.bfloat16, "int8", is_native=True),
    "native int4": ModelKind(torch.bfloat16, "int4", is_native=True),
}


def model_kinds() -> dict[str, ModelKind]:
    """All that this machine has: kernels of our own only where they were compiled."""
    library = NativeLibrary.find()
    if library is None:
        return _TORCH_KINDS
    return _TORCH_KINDS | {
        name: kind for name, kind in _NATIVE_KINDS.items() if kind.quantize != "int8" or library.has_int8
    }


MODEL_KINDS: Final = model_kinds()


def load_kind(folder: ModelFolder, name: str) -> GPT2 | NativeGPT2:
    """The model of `folder` in one of MODEL_KINDS."""
    kind = MODEL_KINDS[name]
    library = NativeLibrary.find() if kind.is_native else None
    return load_model(folder, torch.device("cpu"), kind.dtype, quantize=kind.quantize, library=library)
