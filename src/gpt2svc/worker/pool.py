"""WorkerPool: the models that this service has loaded, one worker process each. Torch-free."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Self

from gpt2svc.errors import InvalidInputError, NotFoundError, UnavailableError
from gpt2svc.models.catalogue import ModelCatalogue, is_folder_path
from gpt2svc.models.hub_name import HubName
from gpt2svc.worker.client import WORKER_COMMAND, WorkerClient
from gpt2svc.worker.options import WorkerOptions
from gpt2svc.worker.policy import RestartPolicy
from gpt2svc.worker.protocol import EngineState


class WorkerPool:
    """Implements EnginePool. `options` describe the default model, and with another name every other one.

    The default model is loaded by `start` and stays; another one is loaded by the first `get` that names it. Where
    `max_loaded_models` are there already, the least recently used one without requests makes room, if nobody has
    asked for it within `min_idle_s`. `async with` (or `start` and `aclose`) owns every process and task.
    """

    def __init__(
        self,
        catalogue: ModelCatalogue,
        options: WorkerOptions,
        *,
        max_loaded_models: int = 2,
        min_idle_s: float = 10.0,
        policy: RestartPolicy | None = None,
        command: Sequence[str] = WORKER_COMMAND,
    ) -> None:
        self._catalogue = catalogue
        self._options = replace(options, allow_folder=True)  # the default model is the operator's choice
        self._max_loaded_models = max_loaded_models
        self._min_idle_s = min_idle_s
        self._policy = policy or RestartPolicy()
        self._command = command
        self._default_key = _key(options.model)
        self._clients: dict[str, WorkerClient] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._is_open = False

    async def start(self) -> None:
        """Begin to load the default model; `states` shows how far it is."""
        self._is_open = True
        self._open(self._default_key, self._options)

    async def aclose(self) -> None:
        """Stop every worker; their requests end with UnavailableError."""
        self._is_open = False
        for key in list(self._clients):
            self._close(key)
        if self._closing:
            await asyncio.wait(self._closing)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    # EnginePool

    @property
    def default_model(self) -> str:
        return self._options.model

    def get(self, model: str | None = None) -> WorkerClient:
        if not self._is_open:
            raise UnavailableError("The service is stopping.", retry_after_s=1.0)
        name = self._options.model if model is None else model
        key = _key(name)
        client = self._clients.get(key)
        if client is None or client.is_worth_replacing:
            client = self._load(key, name)
        client.last_used = time.monotonic()
        return client

    def states(self) -> list[EngineState]:
        default_first = sorted(self._clients, key=lambda key: key != self._default_key)
        return [self._clients[key].state for key in default_first]

    # Places

    def _load(self, key: str, name: str) -> WorkerClient:
        """A new client in a free place, or in that of a failed one of the same name."""
        if key == self._default_key:
            return self._open(key, self._options, after=self._close(key))
        if self._catalogue.resolve(name) is None:
            raise NotFoundError("model", name)
        options = replace(self._options, model=name, allow_folder=False, chat_template=None)
        return self._open(key, options, after=self._close(key) or self._make_room())

    def _make_room(self) -> asyncio.Task[None] | None:
        """The end of the model that makes room; None where there is room. Raises UnavailableError."""
        in_place = {key: client for key, client in self._clients.items() if not client.is_over}
        if len(in_place) < self._max_loaded_models:
            return None
        now = time.monotonic()
        idle = [
            key
            for key, client in in_place.items()
            if key != self._default_key and not client.num_requests and now - client.last_used >= self._min_idle_s
        ]
        if not idle:
            raise UnavailableError(
                f"All {self._max_loaded_models} places for models (max_loaded_models) are taken by ones in use.",
                retry_after_s=None if self._max_loaded_models == 1 else max(1.0, self._min_idle_s),
            )
        return self._close(min(idle, key=lambda key: in_place[key].last_used))

    def _open(self, key: str, options: WorkerOptions, *, after: asyncio.Task[None] | None = None) -> WorkerClient:
        client = WorkerClient(options, self._catalogue, policy=self._policy, command=self._command)
        self._clients[key] = client
        client.start(after=after)
        return client

    def _close(self, key: str) -> asyncio.Task[None] | None:
        """Forget a client and stop it in the background."""
        client = self._clients.pop(key, None)
        if client is None:
            return None
        task = asyncio.create_task(client.aclose(), name=f"close:{key}")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        return task


def _key(name: str) -> str:
    """One key for all spellings of a hub name: "gpt2" and "openai-community/gpt2@main" are one model."""
    if is_folder_path(name):
        return name
    try:
        return str(HubName.parse(name))
    except InvalidInputError:
        return name  # the bundled model, or nonsense, which `resolve` refuses
