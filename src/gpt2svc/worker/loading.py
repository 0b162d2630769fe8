"""From a worker's options to a running engine, with progress on the way."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from gpt2svc.engine.types import ModelInfo
from gpt2svc.models.catalogue import ModelCatalogue
from gpt2svc.models.folder import ModelFolder
from gpt2svc.worker.messages import FromWorker, Loading, Located
from gpt2svc.worker.options import WorkerOptions

if TYPE_CHECKING:
    from gpt2svc.engine.core import EngineCore

Report = Callable[[FromWorker], None]


def load_model(options: WorkerOptions, report: Report) -> "tuple[EngineCore, ModelInfo]":
    """The engine, ready to answer at full speed. Raises ModelError, and ConfigError for the device or dtype."""
    folder = locate(options, report)
    report(Loading("loading", "Importing torch"))
    # NOTE: here and not above: torch takes two seconds, which a broken folder need not cost, and the thread counts in
    # the environment have to be there before it.
    from gpt2svc.engine.loader import load_engine

    return load_engine(
        folder,
        device=options.device,
        dtype=options.dtype,
        quantize=options.quantize,
        config=options.engine,
        progress=lambda stage, percent: report(Loading("loading", stage, percent)),
    )


def locate(options: WorkerOptions, report: Report) -> ModelFolder:
    """The model's folder, downloaded first where it is not on this machine. Raises ModelError, InvalidInputError."""
    models_dir = Path(options.models_dir)
    folder = ModelCatalogue(models_dir).resolve(options.model, allow_folder=options.allow_folder)
    if folder is None:
        folder = _download(options, models_dir, report)
    report(Located())
    return folder


def _download(options: WorkerOptions, models_dir: Path, report: Report) -> ModelFolder:
    report(Loading("downloading", f"Looking for {options.model}"))
    from gpt2svc.models.hub import DownloadProgress, HubClient  # brings httpx along, which a local model doesn't need

    def show(progress: DownloadProgress) -> None:
        report(Loading("downloading", f"Downloading {progress.file}", round(progress.percent, 1)))

    hub = HubClient.from_environment(models_dir, endpoint=options.hub_endpoint)
    return hub.pull(options.model, on_progress=show)
