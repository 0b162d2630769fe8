"""From a model folder to a running engine."""

from gpt2svc.engine.config import EngineConfig
from gpt2svc.engine.core import EngineCore
from gpt2svc.engine.device import resolve_device, resolve_dtype, set_num_threads
from gpt2svc.engine.model import Model
from gpt2svc.engine.types import ModelInfo
from gpt2svc.models.chunk import Chunk
from gpt2svc.models.folder import ModelFolder
from gpt2svc.models.loading import load_model
from gpt2svc.models.native.library import NativeLibrary
from gpt2svc.models.quantization import Quantization, quantized_revision
from gpt2svc.models.task_head import task_of
from gpt2svc.models.weights import ProgressCallback


def load_engine(
    folder: ModelFolder,
    *,
    device: str = "auto",
    dtype: str = "auto",
    quantize: Quantization = "none",
    config: EngineConfig | None = None,
    progress: ProgressCallback | None = None,
) -> tuple[EngineCore, ModelInfo]:
    """Read the weights of `folder` to a device and warm the engine up: what it returns answers at full speed.

    `device` is "auto" (CUDA, then MPS, then CPU) or a torch device; `dtype` is "float32", "bfloat16", "float16" or
    "auto": bfloat16 on CUDA, float32 elsewhere, where it is exact and needs no special processor. `quantize` takes
    the weights down to 8 or 4 bits. `progress` hears of each stage: (text for people, percent or None). Raises
    ConfigError for a device or dtype that this machine hasn't got, ModelFormatError where the files have changed since
    `folder` was opened.
    """
    config = config if config is not None else EngineConfig()
    torch_device = resolve_device(device)
    torch_dtype = resolve_dtype(dtype, torch_device, quantize)
    if torch_device.type == "cpu":
        set_num_threads(config.num_threads)
    model = load_model(
        folder,
        torch_device,
        torch_dtype,
        progress,
        quantize=quantize,
        library=NativeLibrary.find() if config.is_native_enabled else None,
    )
    if progress is not None:
        progress("Warming up", None)
    _warm_up(model)
    core = EngineCore(model, config)
    shape = folder.config
    return core, ModelInfo(
        name=folder.name,
        revision=quantized_revision(folder.revision, quantize),
        architecture=folder.config.architecture,
        task=task_of(folder.config.head),
        device=str(torch_device),
        dtype=str(torch_dtype).removeprefix("torch."),
        quantize=quantize,
        num_parameters=folder.num_parameters,
        n_positions=shape.n_positions,
        vocab_size=shape.vocab_size,
        n_layer=shape.n_layer,
        n_head=shape.n_head,
        n_embd=shape.n_embd,
        num_slots=config.max_num_seqs,
        eos_token_id=shape.eos_token_id,
        memory_bytes=model.num_bytes + core.num_cache_bytes,
    )


def _warm_up(model: Model) -> None:
    """Bring in what the first steps would otherwise wait for: kernels are chosen and compiled at their first use."""
    length = min(64, model.n_positions - 1)
    cache = model.new_cache(1)
    model.forward([Chunk(slot=0, start=0, token_ids=[0] * length, is_sampled=True)], cache)
    model.forward([Chunk(slot=0, start=length, token_ids=[0], is_sampled=True)], cache)
