"""Health and models on the wire."""

from typing import Literal

from pydantic import BaseModel, Field

from gpt2svc.api.schemas.errors import ErrorBody
from gpt2svc.models.folder import ModelFolder
from gpt2svc.models.task_head import Task, task_of
from gpt2svc.worker.protocol import EngineState, EngineStatus


class ModelOut(BaseModel):
    """A model and the worker process that holds it."""

    id: str = Field(description="The name to put into `model`.")
    is_default: bool
    status: EngineStatus | Literal["available"] = Field(
        description="`available`: on this machine, and loaded by the first message that names it."
    )
    stage: str = Field(description="What loading is at, for people.")
    percent: float | None = Field(description="How far loading is, where it is known.")
    error: str | None = Field(description="Why it failed, and what to do.")
    num_restarts: int
    revision: str | None
    architecture: str | None = Field(description="`gpt2` or `openai-gpt`.")
    task: Task | None = Field(
        description="`text` writes; `classification` is for `/api/classify` alone; `choice` writes and has a head for "
        "`/api/choose`."
    )
    device: str | None
    dtype: str | None
    quantize: str | None = Field(description="`none`, `int8` or `int4`: bits of the weights.")
    num_parameters: int | None
    n_positions: int | None = Field(description="The window: tokens of prompt and reply together.")
    vocab_size: int | None
    memory_bytes: int | None = Field(description="Weights and key-value cache.")

    @classmethod
    def of(cls, state: EngineState, *, is_default: bool) -> "ModelOut":
        info = state.info
        return cls(
            id=state.model,
            is_default=is_default,
            status=state.status,
            stage=state.stage,
            percent=state.percent,
            error=state.error,
            num_restarts=state.num_restarts,
            revision=info.revision if info else None,
            architecture=info.architecture if info else None,
            task=info.task if info else None,
            device=info.device if info else None,
            dtype=info.dtype if info else None,
            quantize=info.quantize if info else None,
            num_parameters=info.num_parameters if info else None,
            n_positions=info.n_positions if info else None,
            vocab_size=info.vocab_size if info else None,
            memory_bytes=info.memory_bytes if info else None,
        )

    @classmethod
    def of_folder(cls, name: str, revision: str, folder: ModelFolder | None, problem: str | None) -> "ModelOut":
        """One that no process holds; `folder` is None, and `problem` says why, where it can't be used."""
        config = folder.config if folder else None
        return cls(
            id=name,
            is_default=False,
            status="available" if folder else "failed",
            stage="",
            percent=None,
            error=problem,
            num_restarts=0,
            revision=revision or None,
            architecture=config.architecture if config else None,
            task=task_of(config.head) if config else None,
            device=None,
            dtype=None,
            quantize=None,
            num_parameters=None,
            n_positions=config.n_positions if config else None,
            vocab_size=config.vocab_size if config else None,
            memory_bytes=None,
        )


class QueueOut(BaseModel):
    num_active: int = Field(description="Replies accepted and not ended.")
    num_queued: int = Field(description="Of those, the ones without a first token.")
    max_requests: int = Field(description="A further one is answered with 429.")
    num_tokens: int = Field(description="Prompt and reply tokens that the active ones may need.")
    max_tokens: int
    tokens_per_second: float | None = Field(description="Of all replies together, measured while there was work.")


HealthStatus = Literal["ok", "starting", "degraded", "draining"]


class HealthOut(BaseModel):
    status: HealthStatus
    model: str = Field(description="The default model's name.")
    device: str | None = Field(description="Where it runs; null until it is loaded.")
    dtype: str | None
    quantize: str | None = Field(description="`none`, `int8` or `int4`: bits of its weights.")
    queue: QueueOut
    models: list[ModelOut]
    versions: dict[str, str | None]
    uptime_s: float


class LiveOut(BaseModel):
    status: Literal["ok"] = "ok"


class ReadyOut(BaseModel):
    """What a load balancer asks: whether a message sent now would be answered."""

    status: Literal["ready", "loading", "failed", "draining", "storage_error"]
    stage: str = Field(default="", description="What loading is at, for people.")
    percent: float | None = None
    error: ErrorBody | None = None
