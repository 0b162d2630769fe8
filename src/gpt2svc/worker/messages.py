"""What the API process and a worker process say to each other. Frozen and torch-free.

API process                worker process
Start(options)      ──►
                    ◄──    Loading(status, stage, percent)   any number of times
                    ◄──    Located()                         once the model's files are on this machine
                    ◄──    Ready(info, stats)                or Failed(code, message), after which it exits
Submit(request)     ──►
Abort(request_id)   ──►
                    ◄──    Outputs(outputs, stats)           one a step
Shutdown()          ──►                                      it exits; running requests are dropped
"""

from dataclasses import dataclass
from typing import Literal

from gpt2svc.engine.types import EngineRequest, EngineStats, ModelInfo, TokenOutput
from gpt2svc.worker.options import WorkerOptions

LoadingStatus = Literal["downloading", "loading"]


@dataclass(frozen=True, slots=True)
class Start:
    """The first message; nothing is imported or read before it."""

    options: WorkerOptions


@dataclass(frozen=True, slots=True)
class Submit:
    request: EngineRequest


@dataclass(frozen=True, slots=True)
class Abort:
    """Drop a request; its last TokenOutput has finish_reason "abort". An id that is not there is ignored."""

    request_id: str


@dataclass(frozen=True, slots=True)
class Shutdown:
    pass


@dataclass(frozen=True, slots=True)
class Loading:
    status: LoadingStatus
    stage: str  # for people
    percent: float | None = None  # 0 to 100 where it is known


@dataclass(frozen=True, slots=True)
class Located:
    pass


@dataclass(frozen=True, slots=True)
class Ready:
    info: ModelInfo
    stats: EngineStats


@dataclass(frozen=True, slots=True)
class Failed:
    """The model can't be loaded: a domain error's `code` and its message for people."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a step brought; `outputs` is empty where it only read a part of a prompt."""

    outputs: tuple[TokenOutput, ...]
    stats: EngineStats


ToWorker = Start | Submit | Abort | Shutdown
FromWorker = Loading | Located | Ready | Failed | Outputs
Message = ToWorker | FromWorker
