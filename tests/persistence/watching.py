"""What tests of the database look at."""

import asyncio
import threading

from gpt2svc.persistence.database import Database


async def count_conversations(database: Database) -> int:
    async with database.read() as uow:
        return len((await uow.conversations.list("", limit=1000)).items)


def connection_threads(before: set[threading.Thread]) -> list[threading.Thread]:
    """Those that were not there before; each connection has one."""
    return [thread for thread in threading.enumerate() if thread not in before and "connection" in thread.name]


async def join_all(threads: list[threading.Thread]) -> None:
    """They end just after the database is closed."""
    for thread in threads:
        await asyncio.to_thread(thread.join, 10)
        assert not thread.is_alive()
