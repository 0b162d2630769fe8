"""WorkerClient: the EngineClient whose engine is a supervised process of its own. Torch-free."""

import asyncio
import logging
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextvars import Context
from dataclasses import replace
from pathlib import Path
from typing import Final

from gpt2svc.engine.types import EngineRequest, TokenOutput
from gpt2svc.errors import InvalidInputError, ModelError, UnavailableError
from gpt2svc.models.catalogue import ModelCatalogue
from gpt2svc.models.folder import ModelFolder
from gpt2svc.models.quantization import quantized_revision
from gpt2svc.models.task_head import TaskHead
from gpt2svc.models.tokenizer import Tokenizer
from gpt2svc.worker.messages import Abort
from gpt2svc.worker.options import WorkerOptions
from gpt2svc.worker.policy import RestartPolicy
from gpt2svc.worker.protocol import EngineState
from gpt2svc.worker.request_table import RequestTable
from gpt2svc.worker.supervisor import WorkerSupervisor

logger = logging.getLogger(__name__)

# NOTE: -P keeps the current folder off the module path: a file there named torch.py would otherwise run.
WORKER_COMMAND: Final = (sys.executable, "-P", "-m", "gpt2svc.worker.process")


class WorkerClient:
    """Implements EngineClient. `start` it inside a running event loop; whoever starts it must `aclose` it.

    The tokenizer is read here, in a thread, as soon as the model's folder is on this machine, so that requests are
    accepted while the worker still loads the weights.
    """

    def __init__(
        self,
        options: WorkerOptions,
        catalogue: ModelCatalogue,
        *,
        policy: RestartPolicy | None = None,
        command: Sequence[str] = WORKER_COMMAND,
    ) -> None:
        self.last_used = time.monotonic()  # seconds
        self._options = options
        self._catalogue = catalogue
        self._policy = policy or RestartPolicy()
        self._requests = RequestTable()
        self._located = asyncio.Event()  # the model's folder has come to be on this machine
        self._supervisor = WorkerSupervisor(
            options,
            self._requests,
            policy=self._policy,
            command=command,
            on_located=self._located.set,
        )
        self._folder: ModelFolder | None = None
        self._tokenizer: Tokenizer | None = None
        self._is_closed = False
        self._supervision: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[None] | None = None

    # EngineClient

    @property
    def state(self) -> EngineState:
        return replace(self._supervisor.state, status="stopped") if self._is_closed else self._supervisor.state

    @property
    def tokenizer(self) -> Tokenizer:
        if self._tokenizer is None:
            raise self._unavailable()
        return self._tokenizer

    @property
    def n_positions(self) -> int:
        return self._known_folder().config.n_positions

    @property
    def revision(self) -> str:
        return quantized_revision(self._known_folder().revision, self._options.quantize)

    @property
    def task_head(self) -> TaskHead | None:
        return self._known_folder().config.head

    async def submit(self, request: EngineRequest) -> AsyncIterator[TokenOutput]:
        if self._is_closed or self.state.status == "failed":
            raise self._unavailable()
        stream = self._requests.add(request)
        self._supervisor.send_waiting()
        try:
            while True:
                output = await stream.get()
                yield output
                if output.finish_reason is not None:
                    return
        finally:
            self.last_used = time.monotonic()
            if self._requests.leave(request.request_id):
                self._supervisor.send(Abort(request.request_id))

    def abort(self, request_id: str) -> None:
        if self._requests.abort(request_id):
            self._supervisor.send(Abort(request_id))

    # What the pool needs

    @property
    def num_requests(self) -> int:
        """Waiting and running."""
        return len(self._requests)

    @property
    def pid(self) -> int | None:
        """Of the worker process, while there is one."""
        return self._supervisor.pid

    @property
    def is_over(self) -> bool:
        """No process is running and none will be started: closed, or failed for good."""
        return self._is_closed or (self.state.status == "failed" and self._supervisor.retry_after_s is None)

    @property
    def is_worth_replacing(self) -> bool:
        """Failed for good, but long enough ago that its cause may have been put right."""
        return self.is_over and time.monotonic() - self._supervisor.failed_at >= self._policy.min_retry_s

    def start(self, *, after: asyncio.Task[None] | None = None) -> None:
        """Begin to load, but not before the task `after` is done: that of a model that makes room."""
        # NOTE: in a context of its own: a worker outlives the request that named its model, and is no part of it.
        context, name = Context(), self._options.model
        self._supervision = asyncio.create_task(self._supervise(after), name=f"worker:{name}", context=context)
        self._reading = asyncio.create_task(self._read_folder(), name=f"tokenizer:{name}", context=context)

    async def aclose(self) -> None:
        """Stop the process and end all requests with UnavailableError. May be called twice."""
        self._is_closed = True
        self._requests.fail_all(self._unavailable)
        self._stop_supervising()
        if self._reading is not None:
            self._reading.cancel()
        try:
            if tasks := {task for task in (self._supervision, self._reading) if task is not None}:
                await asyncio.wait(tasks)
        except asyncio.CancelledError:
            self._supervisor.kill()  # no time for a graceful stop
            raise

    def _stop_supervising(self) -> None:
        # NOTE: never twice: the second would cut short the wait for the process to be gone.
        if self._supervision is not None and not self._supervision.cancelling():
            self._supervision.cancel()

    async def _supervise(self, after: asyncio.Task[None] | None) -> None:
        if after is not None:
            await asyncio.wait({after})
        try:
            await self._supervisor.run()
        except Exception as error:
            logger.exception("The supervision of model %s ended with an error", self._options.model)
            self._supervisor.give_up(f"Its worker process can't be supervised: {error!r}.")

    # The model's text side

    async def _read_folder(self) -> None:
        try:
            while (folder := await asyncio.to_thread(self._resolve)) is None:
                await self._located.wait()  # the worker downloads it, and says when it is there
                self._located.clear()
            given = self._options.chat_template
            template = Path(given) if given is not None else None
            tokenizer = await asyncio.to_thread(folder.load_chat_tokenizer, template)
        except (ModelError, InvalidInputError) as error:
            self._give_up(error.message)
        except Exception as error:
            logger.exception("Reading the folder of model %s failed", self._options.model)
            self._give_up(f"Its folder can't be read: {error!r}.")
        else:
            self._folder, self._tokenizer = folder, tokenizer

    def _resolve(self) -> ModelFolder | None:
        return self._catalogue.resolve(self._options.model, allow_folder=self._options.allow_folder)

    def _give_up(self, reason: str) -> None:
        """The worker may well load the weights, but without its text side the model is of no use."""
        self._supervisor.give_up(reason)
        self._stop_supervising()

    def _known_folder(self) -> ModelFolder:
        if self._folder is None:
            raise self._unavailable()
        return self._folder

    def _unavailable(self) -> UnavailableError:
        state = self.state
        if state.status == "failed":
            return UnavailableError(
                f"The model {state.model!r} can't be used: {state.error}", retry_after_s=self._supervisor.retry_after_s
            )
        if state.status == "stopped":
            return UnavailableError(f"The model {state.model!r} is not loaded any more.", retry_after_s=1.0)
        progress = f": {state.stage}" if state.stage else ""
        if state.percent is not None:
            progress += f" ({state.percent:.0f}%)"
        return UnavailableError(f"The model {state.model!r} is not ready yet{progress}.", retry_after_s=1.0)
