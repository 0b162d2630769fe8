"""The schema refuses what the code should never write, and serves the code's queries without reading whole tables."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import event, insert
from sqlalchemy.exc import IntegrityError

from gpt2svc.persistence.database import Database
from gpt2svc.persistence.page_cursor import encode_cursor
from gpt2svc.persistence.tables import (
    GenerationRow,
    IdempotencyKeyRow,
    MessageRow,
    TokenChunkRow,
    from_microseconds,
    to_microseconds,
)
from gpt2svc.persistence.unit_of_work import UnitOfWork
from tests.persistence.turns import Turn, new_turn

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def _message(turn: Turn, **changes: Any) -> Any:
    values = {
        "id": "msg_x",
        "conversation_id": turn.conversation.id,
        "position": 99,
        "role": "user",
        "content": "",
        "content_folded": "",
        "status": "completed",
        "created_at": NOW,
    }
    return insert(MessageRow).values({**values, **changes})


def _generation(turn: Turn, **changes: Any) -> Any:
    values = {
        "id": "gen_x",
        "conversation_id": turn.conversation.id,
        "message_id": turn.reply.id,
        "status": "completed",
        "owner": "",
        "model": "m",
        "model_revision": "r",
        "settings": {},
        "seed": 1,
        "prompt_tokens": 1,
        "dropped_message_ids": [],
        "last_seq": 0,
        "created_at": NOW,
    }
    return insert(GenerationRow).values({**values, **changes})


@pytest.mark.parametrize(
    "statement",
    [
        lambda turn: _message(turn, role="robot"),
        lambda turn: _message(turn, status="done"),
        lambda turn: _message(turn, conversation_id="conv_x"),
        lambda turn: _message(turn, parent_id="msg_y"),
        lambda turn: _message(turn, position=1),
        lambda turn: _message(turn, id=turn.reply.id),
        lambda turn: _message(turn, content=None),
        lambda turn: _generation(turn, status="done"),
        lambda turn: _generation(turn, status="queued"),  # a second active one
        lambda turn: _generation(turn, last_seq=-1),
        lambda turn: _generation(turn, prompt_tokens=-1),
        lambda turn: _generation(turn, message_id="msg_y"),
        lambda turn: insert(TokenChunkRow).values(generation_id="gen_y", last_seq=1, events="[]"),
        lambda turn: insert(IdempotencyKeyRow).values(
            owner="",
            key="k",
            body_hash="h",
            conversation_id="conv_x",
            user_message_id="",
            message_id="",
            generation_id="",
            created_at=NOW,
        ),
    ],
)
async def test_the_schema_refuses_rows_that_make_no_sense(database: Database, statement: Callable[[Turn], Any]) -> None:
    turn = await new_turn(database)
    with pytest.raises(IntegrityError):
        await database.write(lambda uow: uow.conversations._connection.execute(statement(turn)))


async def test_the_rows_that_those_tests_start_from_are_accepted(database: Database) -> None:
    turn = await new_turn(database)
    for statement in (_message(turn), _generation(turn)):
        await database.write(lambda uow, statement=statement: uow.conversations._connection.execute(statement))


QUERIES: dict[str, Callable[[UnitOfWork, Turn], Awaitable[object]]] = {
    "conversations.get": lambda uow, turn: uow.conversations.get(turn.conversation.id, ""),
    "conversations.list": lambda uow, turn: uow.conversations.list(""),
    "conversations.list, next page": lambda uow, turn: uow.conversations.list("", cursor=encode_cursor(2**50, "conv_")),
    "conversations.list, search": lambda uow, turn: uow.conversations.list("", search="hello"),
    "messages.get": lambda uow, turn: uow.messages.get(turn.reply.id, turn.conversation.id),
    "messages.list": lambda uow, turn: uow.messages.list(turn.conversation.id),
    "messages.list, next page": lambda uow, turn: uow.messages.list(turn.conversation.id, cursor=encode_cursor(1)),
    "messages.last": lambda uow, turn: uow.messages.last(turn.conversation.id),
    "messages.path_to": lambda uow, turn: uow.messages.path_to(turn.reply.id),
    "generations.get": lambda uow, turn: uow.generations.get(turn.generation.id, ""),
    "generations.active": lambda uow, turn: uow.generations.active(turn.conversation.id),
    "generations.tokens": lambda uow, turn: uow.generations.tokens(turn.generation.id, after_seq=1, limit=5),
    "idempotency_keys.get": lambda uow, turn: uow.idempotency_keys.get("", "key"),
}


@pytest.mark.parametrize("name", QUERIES)
async def test_a_query_finds_its_rows_by_index_in_order(database: Database, name: str) -> None:
    turn = await new_turn(database)
    readers = database._readers
    assert readers is not None
    statements: list[tuple[str, Any]] = []

    def note(connection: object, cursor: object, statement: str, parameters: object, *rest: object) -> None:
        if statement.startswith(("SELECT", "WITH")):
            statements.append((statement, parameters))

    event.listen(readers.sync_engine, "before_cursor_execute", note)
    async with database.read() as uow:
        await QUERIES[name](uow, turn)
    event.remove(readers.sync_engine, "before_cursor_execute", note)
    assert len(statements) == 1
    async with readers.connect() as connection:
        rows = (await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statements[0][0]}", statements[0][1])).all()
    plan = [row.detail for row in rows]
    assert any("SEARCH" in step for step in plan)
    # A recursive query reads its own few rows in whole, and puts them in order: that is as it should be.
    assert not [step for step in plan if step.startswith("SCAN") and step != "SCAN path"]
    if name != "messages.path_to":
        assert not [step for step in plan if "TEMP B-TREE" in step]


async def test_the_start_up_query_reads_only_active_generations(database: Database) -> None:
    writer = database._writer
    assert writer is not None
    async with writer.connect() as connection:
        plan = await connection.exec_driver_sql(
            "EXPLAIN QUERY PLAN SELECT id FROM generations WHERE status IN ('queued', 'generating')"
        )
        assert "uq_generations_active" in plan.all()[0].detail


def test_times_are_kept_to_the_microsecond_in_utc() -> None:
    kyiv = datetime(2026, 11, 21, 14, 6, 38, 123457, tzinfo=timezone(timedelta(hours=2)))
    assert to_microseconds(kyiv) == 1795262798123457
    assert from_microseconds(1795262798123457) == kyiv
    assert from_microseconds(1795262798123457).tzinfo is UTC
    assert from_microseconds(to_microseconds(datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC))).year == 1969
    with pytest.raises(TypeError):
        to_microseconds(datetime(2026, 11, 21))  # noqa: DTZ001
