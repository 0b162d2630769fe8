"""Keeps one worker process running: starts it, restarts it after a crash, gives up on a model that can't be loaded."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from gpt2svc.engine.types import EngineStats
from gpt2svc.errors import Gpt2svcError, ModelDownloadError, UnavailableError, WorkerCrashedError
from gpt2svc.worker.connection import WorkerConnection
from gpt2svc.worker.messages import Failed, FromWorker, Loading, Located, Outputs, Ready, Start, Submit, ToWorker
from gpt2svc.worker.options import WorkerOptions
from gpt2svc.worker.policy import RestartPolicy
from gpt2svc.worker.protocol import EngineState, EngineStatus
from gpt2svc.worker.request_table import RequestTable

logger = logging.getLogger(__name__)


class WorkerSupervisor:
    """Owns the process, and with it the truth about the engine's state.

    A crash ends the requests that the worker held with WorkerCrashedError; those that wait stay and are sent to its
    successor. A model that can't be loaded ends all of them with UnavailableError.
    """

    def __init__(
        self,
        options: WorkerOptions,
        requests: RequestTable,
        *,
        policy: RestartPolicy,
        command: Sequence[str],
        on_located: Callable[[], None],
    ) -> None:
        self.state = EngineState(model=options.model, status="starting")
        self.retry_after_s: float | None = None  # with status "failed": when it is tried again
        self.failed_at = 0.0  # by time.monotonic()
        self._options = options
        self._requests = requests
        self._policy = policy
        self._command = command
        self._on_located = on_located
        self._connection: WorkerConnection | None = None
        self._ready_at: float | None = None
        self._failure: Failed | None = None
        self._quiet_s = 0.0
        self._is_hung = False
        self._num_crashes = 0  # in a row, without a healthy time between
        self._num_load_crashes = 0  # in a row, without having been ready

    @property
    def pid(self) -> int | None:
        return self._connection.pid if self._connection is not None else None

    def send_waiting(self) -> None:
        """Pass the waiting requests on, if the worker is ready for them."""
        if self.state.status == "ready" and self._connection is not None and self._connection.is_open:
            if self._requests.num_running == 0:
                self._quiet_s = 0.0  # nothing was expected of it until now
            for request in self._requests.take_waiting():
                self._connection.send(Submit(request))

    def send(self, message: ToWorker) -> None:
        if self._connection is not None:
            self._connection.send(message)

    def kill(self) -> None:
        if self._connection is not None:
            self._connection.kill()

    def give_up(self, reason: str, *, retry_after_s: float | None = None) -> None:
        """The model can't be used: all requests end, and no new ones come in."""
        logger.error("Model %s can't be loaded: %s", self.state.model, reason)
        self.retry_after_s = retry_after_s
        self.failed_at = time.monotonic()
        self._show("failed", error=reason)
        message = f"The model {self.state.model!r} can't be used: {reason}"
        self._requests.fail_all(lambda: UnavailableError(message, retry_after_s=retry_after_s))

    async def run(self) -> None:
        """Until cancelled, or until the model has failed for good. Leaves no process behind."""
        while True:
            reason = await self._run_process()
            delay_s = self._after_failure(self._failure) if self._failure else self._after_crash(reason)
            if delay_s is None:
                return
            await asyncio.sleep(delay_s)
            self.retry_after_s = None
            self._show("restarting", stage="Starting", num_restarts=self.state.num_restarts + 1)

    async def _run_process(self) -> str:
        """One process from start to end; returns how it ended, for people."""
        self._ready_at = None
        self._quiet_s = 0.0
        self._is_hung = False
        self._failure = None
        try:
            connection = await WorkerConnection.open(self._command, self._on_message)
        except OSError as error:
            return f"could not be started ({error})"
        try:
            self._connection = connection
            connection.send(Start(self._options))
            await self._watch(connection)
            self._show("restarting", stage="Process ended")
        finally:
            self._connection = None
            await connection.stop(is_listening=self._ready_at is not None, grace_s=self._policy.stop_grace_s)
        return f"gave no sign of life for {self._policy.hang_s:g} s" if self._is_hung else connection.exit_reason

    async def _watch(self, connection: WorkerConnection) -> None:
        interval_s = min(self._policy.hang_s / 8, 5.0)
        before = time.monotonic()
        while not await connection.wait_closed(interval_s):
            now = time.monotonic()
            # NOTE: a pause of this process itself (a suspended laptop, a frozen container) must not count as the
            # worker's silence: it was frozen too.
            self._quiet_s += min(now - before, 2 * interval_s)
            before = now
            is_expected_to_speak = self.state.status != "ready" or self._requests.num_running > 0
            if not is_expected_to_speak:
                self._quiet_s = 0.0
            elif self._quiet_s >= self._policy.hang_s:
                self._is_hung = True
                connection.kill()

    def _on_message(self, message: FromWorker) -> None:
        self._quiet_s = 0.0
        if self.state.status == "failed":
            return  # given up on while it was loading
        match message:
            case Outputs(outputs, stats):
                self.state = replace(self.state, stats=stats)
                self._requests.deliver(outputs)
            case Loading(status, stage, percent):
                self._show("restarting" if self.state.num_restarts else status, stage=stage, percent=percent)
            case Located():
                self._on_located()
            case Ready(info, stats):
                self._ready_at = time.monotonic()
                self._show("ready")
                self.state = replace(self.state, info=info, stats=stats)
                self.send_waiting()
            case Failed():
                self._failure = message
                self.kill()  # it has said everything; its exit need not be waited for

    def _after_crash(self, reason: str) -> float:
        """Delay before the restart, in seconds."""
        happened = f"The worker process of model {self.state.model!r} {reason}"
        was_ready = self._ready_at is not None
        was_healthy = self._ready_at is not None and time.monotonic() - self._ready_at >= self._policy.healthy_s
        self._num_crashes = 1 if was_healthy else self._num_crashes + 1
        self._num_load_crashes = 0 if was_ready else self._num_load_crashes + 1
        self._requests.fail_running(lambda: WorkerCrashedError(f"{happened}."))
        if self._num_load_crashes >= self._policy.max_load_crashes:
            self._num_load_crashes = 0
            self.give_up(f"{happened} while it loaded the model.", retry_after_s=self._policy.retry_s)
            return self._policy.retry_s
        delay_s = self._policy.backoff(self._num_crashes)
        logger.error("%s; it is started again in %.1f s", happened, delay_s)
        self._show("restarting", stage="Waiting to restart")
        return delay_s

    def _after_failure(self, failure: Failed) -> float | None:
        """Delay before the next try, in seconds; None where waiting won't help."""
        if failure.code == Gpt2svcError.code:
            return self._after_crash(f"failed ({failure.message})")  # not of our making: it may be gone next time
        delay_s = self._policy.retry_s if failure.code == ModelDownloadError.code else None
        self.give_up(failure.message, retry_after_s=delay_s)
        return delay_s

    def _show(
        self,
        status: EngineStatus,
        *,
        stage: str = "",
        percent: float | None = None,
        error: str | None = None,
        num_restarts: int | None = None,
    ) -> None:
        self.state = replace(
            self.state,
            status=status,
            stage=stage,
            percent=percent,
            error=error,
            num_restarts=self.state.num_restarts if num_restarts is None else num_restarts,
            stats=EngineStats(),
        )
