"""The composition root: the one place that knows which class stands behind which."""

import platform
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import cast

from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute
from sse_starlette.sse import AppStatus
from starlette.middleware import Middleware

from gpt2svc.api.errors import install_error_handlers
from gpt2svc.api.key_ring import KeyRing
from gpt2svc.api.load_shedding import LoadShedder
from gpt2svc.api.middleware.api_key import ApiKeyMiddleware
from gpt2svc.api.middleware.deadline import DeadlineMiddleware
from gpt2svc.api.middleware.json_body import JsonBodyMiddleware
from gpt2svc.api.middleware.metrics import MetricsMiddleware
from gpt2svc.api.middleware.overload import OverloadMiddleware
from gpt2svc.api.middleware.rate_limit import RateLimitMiddleware
from gpt2svc.api.middleware.request_id import RequestIdMiddleware
from gpt2svc.api.middleware.security_headers import SecurityHeadersMiddleware
from gpt2svc.api.middleware.trusted_origin import TrustedOriginMiddleware, TrustedOrigins
from gpt2svc.api.query_names import require_known_query
from gpt2svc.api.refusal_gate import RefusalGate
from gpt2svc.api.routes import (
    branches,
    conversations,
    generations,
    health,
    messages,
    openai_chat,
    openai_completions,
    openai_embeddings,
    openai_models,
    openai_responses,
    pages,
    scoring,
    tasks,
    tokenizer,
    transfer,
)
from gpt2svc.api.routes import metrics as metrics_route
from gpt2svc.api.services import Services
from gpt2svc.api.state_collector import StateCollector
from gpt2svc.chat.choosing import ChoiceService
from gpt2svc.chat.classification import ClassificationService
from gpt2svc.chat.conversations import ConversationService
from gpt2svc.chat.edits import EditService
from gpt2svc.chat.prompt import PromptBudget
from gpt2svc.chat.scoring import ScoringService
from gpt2svc.chat.transfer.export import ConversationExport
from gpt2svc.chat.transfer.importer import ConversationImport
from gpt2svc.chat.turns import TurnService
from gpt2svc.completions.embeddings import EmbeddingService
from gpt2svc.completions.infilling import InfillingService
from gpt2svc.completions.service import CompletionService
from gpt2svc.config import Settings
from gpt2svc.generation.admission import Admission
from gpt2svc.generation.supervisor import GenerationSupervisor
from gpt2svc.loop_lag import LoopLagMonitor
from gpt2svc.metrics import Metrics
from gpt2svc.models.catalogue import ModelCatalogue
from gpt2svc.persistence.database import Database
from gpt2svc.responses.service import ResponseService
from gpt2svc.worker.options import WorkerOptions
from gpt2svc.worker.pool import WorkerPool
from gpt2svc.worker.protocol import EnginePool

# Without a key: probes, and pages, which hold nothing but what is in the package. Compared exactly.
OPEN_PATHS = health.OPEN_PATHS | pages.PATHS
# With a key that has the scope "admin"; every other path is for "chat". Compared exactly.
ADMIN_PATHS = frozenset({metrics_route.PATH})

# In the order of the API page.
_RESOURCES = (
    conversations,
    messages,
    branches,
    transfer,
    scoring,
    tasks,
    generations,
    health,
    pages,
    metrics_route,
    openai_models,
    openai_chat,
    openai_completions,
    openai_responses,
    openai_embeddings,
    tokenizer,
)

_PACKAGES = ("gpt2svc", "torch", "transformers", "tokenizers", "fastapi", "sqlalchemy")


def create_app(settings: Settings, *, engines: EnginePool | None = None) -> FastAPI:
    """The service as an ASGI app; nothing is opened before its lifespan begins.

    Without `engines` the app owns a pool of worker processes; a given one stays its owner's.
    """
    catalogue = ModelCatalogue(settings.models_dir)
    pool = _worker_pool(settings, catalogue)
    services = _services(settings, catalogue, pool if engines is None else engines)
    doors = _doors(settings, services)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        # Its own way to end streams at a signal would cut them while replies still have their time to finish. Here
        # streams end because their generations end.
        AppStatus.disable_automatic_graceful_drain()  # type: ignore[no-untyped-call]
        loop_lag = LoopLagMonitor(services.metrics.event_loop_lag.observe)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(services.database.close)
            stack.push_async_callback(loop_lag.stop)
            loop_lag.start()
            if engines is None:
                await stack.enter_async_context(pool)  # begins to load, and goes on beside what follows
            await services.database.open()
            stack.push_async_callback(services.generations.stop, settings.drain_s)
            await services.generations.start()
            stack.push_async_callback(services.completions.stop, settings.drain_s)
            yield

    web = pages.web_files()
    app = FastAPI(
        title="gpt2svc",
        version=services.versions["gpt2svc"] or "0",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,  # it would redirect to whatever host a request names
        lifespan=lifespan,
        dependencies=[Depends(require_known_query)],
        middleware=_middleware(settings, OPEN_PATHS | web.paths, doors),
    )
    app.state.services = services
    app.state.web = web
    app.state.gate = RefusalGate(
        doors.shedder,
        origins=doors.origins,
        keys=doors.keys,
        admission=services.admission,
        requests=services.metrics.http_requests,
    )
    install_error_handlers(app)
    for resource in _RESOURCES:
        app.include_router(resource.router)
    app.add_middleware(RateLimitMiddleware, admission=services.admission)
    # Added last and so the outermost: what the others refuse counts too.
    app.add_middleware(MetricsMiddleware, requests=services.metrics.http_requests)
    return app


def services_of_app(app: FastAPI) -> Services:
    return cast(Services, app.state.services)


def gate_of_app(app: FastAPI) -> RefusalGate:
    return cast(RefusalGate, app.state.gate)


@dataclass(frozen=True, slots=True)
class _Doors:
    """What decides who comes in: used by the layers, and by the gate before them."""

    origins: TrustedOrigins
    keys: KeyRing
    shedder: LoadShedder


def _doors(settings: Settings, services: Services) -> _Doors:
    hosts = (settings.host, *settings.allowed_hosts) if settings.is_loopback else settings.allowed_hosts or None
    return _Doors(
        TrustedOrigins(hosts),
        _key_ring(settings, services.database),
        LoadShedder(services.admission, _limited_routes(), is_accepting=lambda: services.generations.is_accepting),
    )


def _middleware(settings: Settings, open_paths: frozenset[str], doors: _Doors) -> list[Middleware]:
    """Outermost first. All of it is plain ASGI: Starlette's BaseHTTPMiddleware breaks streams and context variables."""
    file_limits = {transfer.IMPORT_PATH: ("max_import_bytes", settings.max_import_bytes)}
    return [
        Middleware(RequestIdMiddleware),
        Middleware(SecurityHeadersMiddleware),
        Middleware(TrustedOriginMiddleware, origins=doors.origins),
        Middleware(ApiKeyMiddleware, keys=doors.keys, open_paths=open_paths, admin_paths=ADMIN_PATHS),
        Middleware(OverloadMiddleware, shedder=doors.shedder),
        Middleware(DeadlineMiddleware),
        Middleware(JsonBodyMiddleware, max_bytes=settings.max_body_bytes, file_limits=file_limits),
    ]


def _limited_routes() -> list[APIRoute]:
    """Those that begin replies and texts: they document 429, and with another meaning only the import does."""
    return [
        route
        for resource in _RESOURCES
        for route in resource.router.routes
        if isinstance(route, APIRoute)
        and "POST" in (route.methods or ())
        and 429 in route.responses
        and route.path != transfer.IMPORT_PATH
    ]


def _key_ring(settings: Settings, database: Database) -> KeyRing:
    configured = settings.api_key.get_secret_value() if settings.api_key is not None else None
    return KeyRing(database, configured, allow_keyless=settings.is_loopback)


def _services(settings: Settings, catalogue: ModelCatalogue, engines: EnginePool) -> Services:
    versions = _versions()
    metrics = Metrics(versions)
    database = Database(
        settings.database_path,
        synchronous=settings.sqlite_synchronous,
        on_write=metrics.database_write.observe,
    )
    rejected = cache(metrics.rejected.labels)
    admission = Admission(
        settings.max_num_seqs + settings.max_queued_requests,
        settings.max_queued_tokens,
        max_owner_share=settings.max_key_share,
        on_reject=lambda reason: rejected(reason).inc(),
    )
    generations = GenerationSupervisor(
        database, engines, admission, flush_interval_s=settings.flush_interval_ms / 1000, metrics=metrics
    )
    metrics.registry.register(StateCollector(generations, admission, engines))
    completions = CompletionService(engines, admission, metrics)
    budget = PromptBudget(max_messages=settings.prompt_max_messages, max_prompt_tokens=settings.prompt_max_tokens)
    return Services(
        settings=settings,
        database=database,
        catalogue=catalogue,
        engines=engines,
        admission=admission,
        generations=generations,
        conversations=ConversationService(database, engines, generations),
        turns=TurnService(database, engines, admission, generations, budget),
        edits=EditService(database),
        exports=ConversationExport(database),
        imports=ConversationImport(database),
        scoring=ScoringService(database, engines, admission, generations, budget),
        classification=ClassificationService(engines, admission, generations),
        choices=ChoiceService(engines, admission, generations),
        completions=completions,
        infilling=InfillingService(engines, admission, completions),
        responses=ResponseService(database, completions, generations, budget),
        embeddings=EmbeddingService(engines, admission, generations),
        versions=versions,
        metrics=metrics,
    )


def _worker_pool(settings: Settings, catalogue: ModelCatalogue) -> WorkerPool:
    options = WorkerOptions(
        model=settings.model,
        models_dir=str(settings.models_dir),
        hub_endpoint=settings.hub_endpoint,
        chat_template=str(settings.chat_template) if settings.chat_template is not None else None,
        device=settings.device,
        dtype=settings.dtype,
        quantize=settings.quantize,
        engine=settings.engine_config(settings.max_num_seqs),
        log_level=settings.log_level,
        log_format=settings.log_format,
    )
    return WorkerPool(catalogue, options, max_loaded_models=settings.max_loaded_models)


def _versions() -> Mapping[str, str | None]:
    """Read from package metadata: torch itself is not imported in this process."""
    found: dict[str, str | None] = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found
