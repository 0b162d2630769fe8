"""Reading responses with OpenAI's client, and what they leave in the store."""

from typing import Any

from sqlalchemy import func, select

from gpt2svc.persistence.tables import Base

DELTA = "response.output_text.delta"


async def events_of(stream: Any) -> list[Any]:
    return [event async for event in stream]


def types_of(events: list[Any]) -> list[str]:
    return [event.type for event in events]


def text_of(events: list[Any]) -> str:
    return "".join(event.delta for event in events if event.type == DELTA)


async def read_events(asking: Any) -> list[Any]:
    return await events_of(await asking)


async def read_deltas(stream: Any, count: int) -> list[Any]:
    """Up to so many of them."""
    events: list[Any] = []
    async for event in stream:
        events.append(event)
        if types_of(events).count(DELTA) == count:
            break
    return events


async def row_counts(uow: Any) -> list[int]:
    connection = uow.responses._connection
    tables = Base.metadata.sorted_tables
    return [(await connection.execute(select(func.count()).select_from(table))).scalar_one() for table in tables]
