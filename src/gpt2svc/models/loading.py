"""From a model folder to the model of its architecture."""

import torch

from gpt2svc.models.folder import ModelFolder
from gpt2svc.models.gpt1 import GPT1
from gpt2svc.models.gpt2 import GPT2
from gpt2svc.models.quantization import Quantization
from gpt2svc.models.weights import ProgressCallback


def load_model(
    folder: ModelFolder,
    device: torch.device,
    dtype: torch.dtype,
    progress: ProgressCallback | None = None,
    *,
    quantize: Quantization = "none",
) -> GPT2:
    """Read its weights. Raises ModelFormatError where the files have changed since `folder` was opened."""
    kind = GPT1 if folder.config.architecture == "openai-gpt" else GPT2
    return kind.from_folder(folder, device, dtype, progress, quantize=quantize)
