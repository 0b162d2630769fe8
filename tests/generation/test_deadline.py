import asyncio
import time

import pytest

from gpt2svc.errors import DeadlineExceededError
from gpt2svc.generation.deadline import within_deadline
from gpt2svc.request_context import deadline_context


async def for_ever(cancelled: list[bool]) -> None:
    async with within_deadline():
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(True)


@pytest.mark.parametrize("remaining_s", [0.01, 0.0, -1.0])
async def test_what_is_awaited_is_cancelled_when_the_time_is_over(remaining_s: float) -> None:
    cancelled: list[bool] = []
    with deadline_context(time.monotonic() + remaining_s), pytest.raises(DeadlineExceededError):
        await for_ever(cancelled)
    assert cancelled


async def test_without_a_deadline_and_in_time_there_is_no_end() -> None:
    async with within_deadline():
        await asyncio.sleep(0)
    with deadline_context(time.monotonic() + 1000):
        async with within_deadline():
            await asyncio.sleep(0)


async def test_timeouts_and_cancellations_of_others_stay_theirs() -> None:
    with deadline_context(time.monotonic() + 1000):
        for error in (TimeoutError, asyncio.CancelledError):
            with pytest.raises(error):
                await _raising(error)


async def _raising(error: type[BaseException]) -> None:
    async with within_deadline():
        raise error
