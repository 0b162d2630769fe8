"""What belongs to the request in whose course code runs: its id, for log lines, and its deadline.

Both travel with the task and with the tasks that it starts, through layers that know nothing of requests: that is what
context variables are for, and the one place where this package keeps anything of the kind.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
_DEADLINE: ContextVar[float | None] = ContextVar("deadline", default=None)


def current_request_id() -> str | None:
    return _REQUEST_ID.get()


def current_deadline() -> float | None:
    """When the client stops waiting, by time.monotonic(); None where it did not say."""
    return _DEADLINE.get()


@contextmanager
def request_id_context(request_id: str) -> Iterator[None]:
    token = _REQUEST_ID.set(request_id)
    try:
        yield
    finally:
        _REQUEST_ID.reset(token)


@contextmanager
def deadline_context(deadline: float) -> Iterator[None]:
    """`deadline` by time.monotonic()."""
    token = _DEADLINE.set(deadline)
    try:
        yield
    finally:
        _DEADLINE.reset(token)
