"""The time that a request gives whatever is awaited in its course: no longer than its client waits."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gpt2svc.errors import DeadlineExceededError
from gpt2svc.request_context import current_deadline


@asynccontextmanager
async def within_deadline() -> AsyncIterator[None]:
    """Cancels what is awaited in it when the request's time is over. Raises DeadlineExceededError then."""
    deadline = current_deadline()
    if deadline is None:
        yield
        return
    try:
        async with asyncio.timeout(max(0.0, deadline - time.monotonic())) as timer:
            yield
    except TimeoutError as error:
        if not timer.expired():
            raise  # somebody else's
        raise DeadlineExceededError("The time that the request gave (X-Request-Timeout) is over.") from error
