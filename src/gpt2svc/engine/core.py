"""EngineCore: the generation loop, one step at a time. No threads and no asyncio."""

from gpt2svc.engine.config import EngineConfig
from gpt2svc.engine.model import Model
from gpt2svc.engine.types import EngineRequest, EngineStats, TokenOutput


class EngineCore:
    """Continues many sequences at once: a request may join or leave between any two steps.

    Not thread-safe: whoever owns it calls everything from one thread.
    """

    def __init__(self, model: Model, config: EngineConfig) -> None: ...

    @property
    def has_work(self) -> bool:
        """Whether a `step` would bring something: requests in progress, or outputs not yet handed over."""
        raise NotImplementedError

    @property
    def stats(self) -> EngineStats:
        raise NotImplementedError

    def add_request(self, request: EngineRequest) -> None:
        """Queue a request; its first token comes from a later `step`.

        Raises InvalidInputError (ContextWindowError where it can't fit the window) that names the field; the engine
        is then as before.
        """
        raise NotImplementedError

    def abort(self, request_id: str) -> None:
        """Drop a request in any state: the next `step` ends it with finish_reason "abort". Unknown ids are ignored."""
        raise NotImplementedError

    def step(self) -> list[TokenOutput]:
        """Schedule, run, sample, update: at most one TokenOutput a request, in no particular order.

        Never raises for what one request did: a failing step ends the requests it held with finish_reason "error",
        and the engine goes on with the others.
        """
        raise NotImplementedError

    def check_integrity(self) -> None:
        """Raises EngineError where the books of queues, slots and prefixes do not balance. Cheap; for tests and idle times."""
        raise NotImplementedError
