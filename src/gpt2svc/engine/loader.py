"""From a model folder to a running engine."""

from collections.abc import Callable

from gpt2svc.engine.config import EngineConfig
from gpt2svc.engine.core import EngineCore
from gpt2svc.engine.types import ModelInfo
from gpt2svc.models.folder import ModelFolder

ProgressCallback = Callable[[str, float | None], None]  # stage, for people; percent, 0 to 100 where it is known


def load_engine(
    folder: ModelFolder,
    *,
    name: str,
    device: str = "auto",
    dtype: str = "auto",
    config: EngineConfig | None = None,
    progress: ProgressCallback | None = None,
) -> tuple[EngineCore, ModelInfo]:
    """Read the weights of `folder` to a device and warm the engine up: what it returns answers at full speed.

    `device` is "auto" (CUDA, then MPS, then CPU) or a torch device; `dtype` is "float32", "bfloat16", "float16" or
    "auto": bfloat16 on CUDA, float32 elsewhere. `name` goes into ModelInfo as it is. Raises ConfigError for a device
    or dtype that this machine hasn't got, ModelFormatError for weights that don't fit the configuration.
    """
    raise NotImplementedError
