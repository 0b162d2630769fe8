"""The requests that a client holds: waiting for the worker to be ready, or running in it."""

from collections.abc import Callable, Iterable

from gpt2svc.engine.types import EngineRequest, TokenOutput
from gpt2svc.errors import EngineError
from gpt2svc.worker.output_stream import OutputStream


class RequestTable:
    """Synchronous bookkeeping; `waiting` keeps the order of arrival."""

    def __init__(self) -> None:
        self._waiting: dict[str, EngineRequest] = {}
        self._running: set[str] = set()
        self._streams: dict[str, OutputStream] = {}

    @property
    def num_waiting(self) -> int:
        return len(self._waiting)

    @property
    def num_running(self) -> int:
        return len(self._running)

    def __len__(self) -> int:
        return len(self._streams)

    def add(self, request: EngineRequest) -> OutputStream:
        """Take in a request as waiting. Raises EngineError where its id is already there."""
        if request.request_id in self._streams:
            raise EngineError(f"A request with the id {request.request_id!r} is already there.")
        self._waiting[request.request_id] = request
        stream = self._streams[request.request_id] = OutputStream()
        return stream

    def take_waiting(self) -> list[EngineRequest]:
        """All that wait, which from now on are running: the caller sends them."""
        requests = list(self._waiting.values())
        self._running.update(self._waiting)
        self._waiting.clear()
        return requests

    def deliver(self, outputs: Iterable[TokenOutput]) -> None:
        """Hand outputs to their streams. Those of requests that were left meanwhile are dropped."""
        for output in outputs:
            stream = self._streams.get(output.request_id)
            if stream is not None:
                stream.put(output)
                if output.finish_reason is not None:
                    self._forget(output.request_id)

    def abort(self, request_id: str) -> bool:
        """End a waiting request here and now; True for a running one, which the worker must be told of."""
        if request_id in self._waiting:
            self.deliver([TokenOutput(request_id, finish_reason="abort")])
        return request_id in self._running

    def leave(self, request_id: str) -> bool:
        """Nobody reads this one any more; True where the worker must be told of it."""
        was_running = request_id in self._running
        self._forget(request_id)
        return was_running

    def fail_running(self, make_error: Callable[[], Exception]) -> None:
        self._fail(list(self._running), make_error)

    def fail_all(self, make_error: Callable[[], Exception]) -> None:
        self._fail(list(self._streams), make_error)

    def _fail(self, request_ids: list[str], make_error: Callable[[], Exception]) -> None:
        for request_id in request_ids:
            # One error each: a shared one would collect the traceback of every reader that it is raised in.
            self._streams[request_id].fail(make_error())
            self._forget(request_id)

    def _forget(self, request_id: str) -> None:
        self._waiting.pop(request_id, None)
        self._running.discard(request_id)
        self._streams.pop(request_id, None)
