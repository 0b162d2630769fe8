"""/livez, /readyz, /api/health and /api/models: none of them waits for a model, and none is ever refused for load."""

import asyncio
import time

from fastapi import APIRouter
from starlette.responses import JSONResponse

from gpt2svc.api.error_docs import error_responses
from gpt2svc.api.errors import ApiError
from gpt2svc.api.schemas.errors import ErrorBody
from gpt2svc.api.schemas.health import HealthOut, HealthStatus, LiveOut, ModelOut, QueueOut, ReadyOut
from gpt2svc.api.schemas.lists import ListOut
from gpt2svc.api.services import Services, ServicesDep
from gpt2svc.errors import StorageError
from gpt2svc.models.quantization import quantized_revision
from gpt2svc.worker.protocol import EngineState, EngineStatus

router = APIRouter()

OPEN_PATHS = frozenset({"/livez", "/readyz"})  # probes carry no key

_RETRY_AFTER_S = 2.0
_OUT_OF_SERVICE: frozenset[EngineStatus] = frozenset({"failed", "stopped"})


@router.get("/livez", tags=["health"], summary="Is the process alive?", responses=error_responses())
@router.head("/livez", include_in_schema=False)
async def livez() -> LiveOut:
    """200 as long as the process answers at all. Needs no key."""
    return LiveOut()


@router.get(
    "/readyz",
    tags=["health"],
    summary="Would a message be answered now?",
    response_model=ReadyOut,
    responses={
        **error_responses(),
        503: {"model": ReadyOut, "description": "Not yet, or no more: `status` and `error` say why."},
    },
)
@router.head("/readyz", include_in_schema=False)
async def readyz(services: ServicesDep) -> JSONResponse:
    """200 with the default model loaded, the store readable and no shutdown under way. Needs no key."""
    ready = await _readiness(services)
    is_ready = ready.status == "ready"
    headers = {} if is_ready else {"Retry-After": f"{_RETRY_AFTER_S:g}"}
    return JSONResponse(ready.model_dump(mode="json"), 200 if is_ready else 503, headers)


@router.get("/api/health", tags=["health"], summary="How is the service?", responses=error_responses())
async def health(services: ServicesDep) -> HealthOut:
    """The model and where it runs, the queue, versions, and how long the service has been up."""
    default = _default_state(services)
    info = default.info if default else None
    admission = services.admission
    return HealthOut(
        status=_health_status(services, default),
        model=services.engines.default_model,
        device=info.device if info else None,
        dtype=info.dtype if info else None,
        quantize=info.quantize if info else None,
        queue=QueueOut(
            num_active=services.generations.num_active,
            num_queued=services.generations.num_queued,
            max_requests=admission.max_requests,
            num_tokens=admission.num_tokens,
            max_tokens=admission.max_tokens,
            tokens_per_second=admission.tokens_per_second,
        ),
        models=_models(services),
        versions=dict(services.versions),
        uptime_s=round(time.monotonic() - services.started_at, 3),
    )


@router.get("/api/models", tags=["models"], summary="List models", responses=error_responses())
async def list_models(services: ServicesDep) -> ListOut[ModelOut]:
    """Loaded ones, the default first, then others on this machine: the first message that names one loads it."""
    loaded = _models(services)
    quantize = services.settings.quantize
    names = {model.id for model in loaded}
    entries = await asyncio.to_thread(services.catalogue.list)
    available = [
        ModelOut.of_folder(entry.name, quantized_revision(entry.revision, quantize), entry.folder, entry.problem)
        for entry in entries
        if entry.name not in names
    ]
    return ListOut(data=[*loaded, *available], has_more=False, next_cursor=None)


def _models(services: Services) -> list[ModelOut]:
    default = services.engines.default_model
    return [ModelOut.of(state, is_default=state.model == default) for state in services.engines.states()]


def _default_state(services: Services) -> EngineState | None:
    default = services.engines.default_model
    return next((state for state in services.engines.states() if state.model == default), None)


def _health_status(services: Services, default: EngineState | None) -> HealthStatus:
    if not services.generations.is_accepting:
        return "draining"
    if default is not None and default.status == "ready":
        return "ok"
    is_new = default is None or default.info is None
    return "starting" if is_new and (default is None or default.status not in _OUT_OF_SERVICE) else "degraded"


async def _readiness(services: Services) -> ReadyOut:
    if not services.generations.is_accepting:
        return ReadyOut(status="draining", error=_error("The service is shutting down.", "draining"))
    try:
        async with services.database.read():
            pass
    except StorageError as error:
        return ReadyOut(status="storage_error", error=_error(error.message, error.code))
    state = _default_state(services)
    if state is None:
        return ReadyOut(status="loading", error=_error("The model has not begun to load.", "model_unavailable"))
    if state.status == "ready":
        return ReadyOut(status="ready")
    is_failed = state.status in _OUT_OF_SERVICE
    message = state.error or (f"The model is {state.status}." if not state.stage else f"{state.stage} …")
    return ReadyOut(
        status="failed" if is_failed else "loading",
        stage=state.stage,
        percent=state.percent,
        error=_error(message, "model_unavailable"),
    )


def _error(message: str, code: str) -> ErrorBody:
    return ErrorBody.model_validate(ApiError(503, message, code).body()["error"])
