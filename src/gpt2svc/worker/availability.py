"""Whether an engine can take work at all: asked before anything is written for a request."""

from gpt2svc.errors import UnavailableError
from gpt2svc.worker.protocol import EngineClient


def require_usable(engine: EngineClient) -> None:
    """Raises UnavailableError for a model that has failed to load or is stopped; one that is (re)starting is usable."""
    state = engine.state
    if state.status in ("failed", "stopped"):
        raise UnavailableError(f"The model {state.model!r} can't be used: {state.error or 'it is stopped'}")
