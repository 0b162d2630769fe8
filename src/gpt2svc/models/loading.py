"""From a model folder to the model of its architecture, with the fastest arithmetic there is for it here."""

from typing import Final

import torch

from gpt2svc.models.config import GPT2Config
from gpt2svc.models.cuda_graphs import CudaGraphs
from gpt2svc.models.folder import ModelFolder
from gpt2svc.models.freed_memory import return_freed_memory
from gpt2svc.models.gpt1 import GPT1
from gpt2svc.models.gpt2 import GPT2
from gpt2svc.models.graphed_gpt2 import GraphedGPT2
from gpt2svc.models.native.gpt2 import NativeGPT2, can_run_natively
from gpt2svc.models.native.library import NativeLibrary
from gpt2svc.models.native.structures import Kind
from gpt2svc.models.quantization import Quantization
from gpt2svc.models.weights import ProgressCallback, WeightReader

_KINDS: Final = {
    (torch.float32, "none"): Kind.FLOAT32,
    (torch.bfloat16, "none"): Kind.BFLOAT16,
    (torch.float32, "int8"): Kind.INT8,
    (torch.bfloat16, "int8"): Kind.INT8,
    (torch.float32, "int4"): Kind.INT4,
    (torch.bfloat16, "int4"): Kind.INT4,
}


def load_model(
    folder: ModelFolder,
    device: torch.device,
    dtype: torch.dtype,
    progress: ProgressCallback | None = None,
    *,
    quantize: Quantization = "none",
    library: NativeLibrary | None = None,
) -> GPT2 | NativeGPT2 | GraphedGPT2:
    """Read its weights; on a CPU for the kernels of `library`, where they fit the model, and else for torch; on a CUDA
    GPU for fixed shapes and CUDA graphs.

    Raises ModelFormatError where the files have changed since `folder` was opened, or hold what can't be quantised.
    """
    model = _load(folder, device, dtype, progress, quantize, library)
    return_freed_memory()
    return model


def _load(
    folder: ModelFolder,
    device: torch.device,
    dtype: torch.dtype,
    progress: ProgressCallback | None,
    quantize: Quantization,
    library: NativeLibrary | None,
) -> GPT2 | NativeGPT2 | GraphedGPT2:
    kind = native_kind(folder.config, device, dtype, quantize, library)
    if library is not None and kind is not None:
        reader = WeightReader(folder, progress)
        with torch.inference_mode():
            return NativeGPT2(
                folder.config, reader, library, kind=kind, cache_dtype=dtype, num_threads=torch.get_num_threads()
            )
    architecture = GPT1 if folder.config.architecture == "openai-gpt" else GPT2
    model = architecture.from_folder(folder, device, dtype, progress, quantize=quantize)
    return GraphedGPT2(model, CudaGraphs(device)) if device.type == "cuda" else model


def native_kind(
    config: GPT2Config,
    device: torch.device,
    dtype: torch.dtype,
    quantize: Quantization,
    library: NativeLibrary | None,
) -> Kind | None:
    """How the kernels would hold the weights; None where the model is torch's."""
    kind = _KINDS.get((dtype, quantize))
    if library is None or kind is None or device.type != "cpu" or not can_run_natively(config):
        return None
    if kind == Kind.INT8 and not library.has_int8:
        return None
    # Such a model asks for attention in float32, which here also means a cache in float32.
    return None if config.reorder_and_upcast_attn and dtype != torch.float32 else kind
