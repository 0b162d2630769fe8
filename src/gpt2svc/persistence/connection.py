"""A database connection whose statements run to their end, whatever becomes of the task that waits for them."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from sqlalchemy import CursorResult, Executable
from sqlalchemy.ext.asyncio import AsyncConnection

T = TypeVar("T")


async def uncancelled(work: Coroutine[Any, Any, T]) -> T:
    """Await `work`; when the caller is cancelled meanwhile, let it finish first and only then pass that on."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:
                continue  # cancelled again: the first one is passed on below
        if not task.cancelled():
            task.exception()  # seen: else asyncio reports it as never retrieved
        raise


class Connection:
    """What repositories execute their statements on, inside one transaction.

    NOTE: cancelling an await does not stop a statement, which runs in the driver's thread. SQLAlchemy then throws the
    connection away while that thread still uses it, and the next one finds the file locked. Statements are short, so
    a cancelled task waits for its own.
    """

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def execute(self, statement: Executable) -> CursorResult[Any]:
        return await uncancelled(self._connection.execute(statement))
