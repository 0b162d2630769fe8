"""Several pieces of work at once: the engine reads the texts of one request in the same steps."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final, TypeVar

T = TypeVar("T")

# More would gain little: a step reads about so many short texts, and others' requests want to be read too.
MAX_AT_ONCE: Final = 32


async def side_by_side(
    work: Iterable[Callable[[], Coroutine[Any, Any, T]]], *, max_at_once: int = MAX_AT_ONCE
) -> list[T]:
    """The results, in order. Where one raises, the others are cancelled, and it is raised once they have ended."""
    places = asyncio.Semaphore(max_at_once)

    async def placed(begin: Callable[[], Coroutine[Any, Any, T]]) -> T:
        async with places:
            return await begin()

    tasks = [asyncio.ensure_future(placed(begin)) for begin in work]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
