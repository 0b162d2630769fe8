"""Owns every generation of this process: a task each, which no request owns and no viewer can hold up."""

from collections.abc import AsyncIterator

from gpt2svc.generation.admission import Admission
from gpt2svc.generation.events import Event
from gpt2svc.generation.job import GenerationJob
from gpt2svc.persistence.records import GenerationRecord
from gpt2svc.worker.protocol import EnginePool


class GenerationSupervisor:
    """Runs accepted generations to their end, publishes their events and stores them."""

    def __init__(
        self, database: object, engines: EnginePool, admission: Admission, *, flush_interval_s: float = 0.25
    ) -> None:
        raise NotImplementedError

    async def start(self) -> None:
        """Mark what an earlier process left in progress as interrupted, and begin to take jobs."""
        raise NotImplementedError

    async def stop(self, drain_s: float = 0.0) -> None:
        """Take no more jobs, let the running ones finish for up to `drain_s` seconds, end the rest as interrupted.

        When it returns everything is stored, every viewer has its terminal event and no task is left.
        """
        raise NotImplementedError

    @property
    def is_accepting(self) -> bool:
        """False before `start` and from `stop` on."""
        raise NotImplementedError

    @property
    def num_active(self) -> int:
        raise NotImplementedError

    @property
    def num_queued(self) -> int:
        """Accepted, and no token of them yet."""
        raise NotImplementedError

    def launch(self, job: GenerationJob) -> None:
        """Begin a generation whose row is committed. Raises UnavailableError when not accepting."""
        raise NotImplementedError

    async def has_more(self, generation_id: str, owner: str, after: int | None) -> bool:
        """False when a viewer with this cursor already has the `done` event (HTTP: 204, which stops an EventSource).

        Raises NotFoundError. Ask it before the response's head is sent.
        """
        raise NotImplementedError

    def events(self, generation_id: str, owner: str, after: int | None = None) -> AsyncIterator[Event]:
        """The events of a live, finished or interrupted generation, up to and with its terminal event.

        `after` None or 0: all of them; n: tokens n+1 … and the terminal event, which is sent again for any cursor
        unless it is a `done` that the viewer has. Any number of viewers, each at its own pace; leaving is free.
        Raises NotFoundError at the first step.
        """
        raise NotImplementedError

    async def cancel(self, generation_id: str, owner: str) -> GenerationRecord:
        """Stop it and wait until its end is stored; one that has ended stays as it is. Raises NotFoundError."""
        raise NotImplementedError

    async def result(self, generation_id: str, owner: str = "") -> GenerationRecord:
        """Wait for the end. Its text is in the message `message_id`. Raises NotFoundError."""
        raise NotImplementedError
