"""What a worker process is started with."""

from dataclasses import dataclass, field

from gpt2svc.engine.config import EngineConfig
from gpt2svc.models.quantization import Quantization


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """One model on one device. Plain values only: this crosses to the worker process as JSON."""

    model: str  # name as asked for: "starter", a hub name, a folder
    models_dir: str  # where models from the hub are, and where they are downloaded to
    allow_folder: bool = False  # whether `model` may be a folder: only where the operator named it
    hub_endpoint: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    quantize: Quantization = "none"
    chat_template: str | None = None  # file of one that takes the place of the model's own
    engine: EngineConfig = field(default_factory=EngineConfig)
    cpus: tuple[int, ...] = ()  # CPU numbers to stay on; empty: wherever the API process may run
    niceness: int = 0  # 0 to 19: how much the worker yields to other processes
    log_level: str = "info"
    log_format: str = "text"
