"""The kinds of arithmetic that a model can be loaded with on the CPU, for tests that hold for each of them."""

from typing import Final, NamedTuple

import torch

from gpt2svc.models.folder import ModelFolder
from gpt2svc.models.gpt2 import GPT2
from gpt2svc.models.quantization import Quantization


class ModelKind(NamedTuple):
    dtype: torch.dtype
    quantize: Quantization = "none"


MODEL_KINDS: Final = {
    "float32": ModelKind(torch.float32),
    "bfloat16": ModelKind(torch.bfloat16),
    "int8": ModelKind(torch.bfloat16, "int8"),
    "int8, attention in float32": ModelKind(torch.float32, "int8"),
}


def load_kind(folder: ModelFolder, name: str) -> GPT2:
    """The model of `folder` in one of MODEL_KINDS."""
    kind = MODEL_KINDS[name]
    return GPT2.from_folder(folder, torch.device("cpu"), kind.dtype, quantize=kind.quantize)
