"""Whether an engine can take work at all: asked before anything is written for a request."""

from gpt2svc.errors import ModelTaskError, UnavailableError
from gpt2svc.models.task_head import ClassificationHead
from gpt2svc.worker.protocol import EngineClient


def require_usable(engine: EngineClient) -> None:
    """Raises UnavailableError for a model that has failed to load or is stopped; one that is (re)starting is usable."""
    state = engine.state
    if state.status in ("failed", "stopped"):
        raise UnavailableError(f"The model {state.model!r} can't be used: {state.error or 'it is stopped'}")


def require_language_model(engine: EngineClient) -> None:
    """`require_usable`, and raises ModelTaskError for a model that was trained to classify: it can't write."""
    require_usable(engine)
    if isinstance(engine.task_head, ClassificationHead):
        raise ModelTaskError(
            f"The model {engine.state.model!r} classifies texts and can't write or score them: use POST /api/classify, "
            "or name another model.",
            field="model",
        )
