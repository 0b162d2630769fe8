"""What the generation layer needs of an engine: where a worker process, a test's script or a cluster plugs in."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

from gpt2svc.engine.types import EngineRequest, EngineStats, ModelInfo, TokenOutput
from gpt2svc.models.task_head import TaskHead
from gpt2svc.models.tokenizer import Tokenizer

EngineStatus = Literal["starting", "downloading", "loading", "ready", "restarting", "failed", "stopped"]


@dataclass(frozen=True, slots=True)
class EngineState:
    """Where an engine stands, for /readyz, /api/health and the page's progress bar."""

    model: str  # name as asked for
    status: EngineStatus
    stage: str = ""  # for people: "Reading weights", "Downloading model.safetensors"
    percent: float | None = None  # 0 to 100 where it is known
    error: str | None = None  # why it failed, and what to do
    num_restarts: int = 0
    info: ModelInfo | None = None  # once the model has been ready for the first time
    stats: EngineStats = field(default_factory=EngineStats)


class EngineClient(Protocol):
    """One model behind an asynchronous, thread-free front.

    `submit` accepts work as soon as the tokenizer is known, also while the worker (re)starts: the request then waits
    in order. It yields a TokenOutput a step and ends after the one that has a `finish_reason`. Leaving the iterator
    early (aclose, cancellation) aborts the request in the engine.

    Raises WorkerCrashedError from the iterator when the process dies while it holds the request, and
    UnavailableError when the model has failed to load or the client is closed.
    """

    @property
    def state(self) -> EngineState: ...

    @property
    def tokenizer(self) -> Tokenizer:
        """Raises UnavailableError (with progress in its message) while the model folder is still being fetched."""
        ...

    @property
    def n_positions(self) -> int:
        """The model's window in tokens; raises UnavailableError as `tokenizer` does."""
        ...

    @property
    def revision(self) -> str:
        """Of the model's weights, as in ModelInfo; raises UnavailableError as `tokenizer` does."""
        ...

    @property
    def task_head(self) -> TaskHead | None:
        """Of the model's task; None of a plain language model. Raises UnavailableError as `tokenizer` does."""
        ...

    def submit(self, request: EngineRequest) -> AsyncIterator[TokenOutput]: ...

    def abort(self, request_id: str) -> None:
        """Ask the engine to drop a request: its iterator ends with finish_reason "abort". Unknown ids are ignored."""
        ...


class EnginePool(Protocol):
    """The models that this process serves: one worker process each."""

    @property
    def default_model(self) -> str: ...

    def get(self, model: str | None = None) -> EngineClient:
        """The client of a model, starting its worker when it is not running yet.

        None is the default model. Raises NotFoundError for a name that is neither loaded nor on this machine,
        InvalidInputError for what can't be a model's name, ModelError for a model that is here and can't be used, and
        UnavailableError when another model can't be loaded now (all places taken by busy ones).
        """
        ...

    def states(self) -> list[EngineState]:
        """Of every started worker, the default model first."""
        ...
