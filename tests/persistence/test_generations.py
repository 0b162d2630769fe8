import pytest

from gpt2svc.errors import ConversationBusyError, InvalidInputError, NotFoundError, StorageError
from gpt2svc.persistence.database import Database
from gpt2svc.persistence.ids import is_id
from gpt2svc.persistence.records import GenerationResult, MessageRecord, TokenRecord
from tests.persistence.turns import SETTINGS, Turn, completed, new_conversation, new_turn, tokens


async def _reply(database: Database, turn: Turn) -> MessageRecord:
    async with database.read() as uow:
        return await uow.messages.get(turn.reply.id, turn.conversation.id)


async def _append(database: Database, turn: Turn, events: list[TokenRecord]) -> int:
    return await database.write(lambda uow: uow.generations.append_tokens(turn.generation.id, events))


async def test_a_generation_is_read_back_as_it_was_created(database: Database) -> None:
    turn = await new_turn(database, owner="k1")
    generation = turn.generation
    assert is_id("generation", generation.id)
    assert (generation.status, generation.last_seq, generation.seed) == ("queued", 0, 42)
    assert (generation.settings, generation.prompt_tokens) == (SETTINGS, 7)
    assert generation.dropped_message_ids == (turn.question.id,)
    assert generation.started_at is None
    async with database.read() as uow:
        assert await uow.generations.get(generation.id, "k1") == generation
        assert await uow.generations.active(turn.conversation.id) == generation
        with pytest.raises(NotFoundError):
            await uow.generations.get(generation.id, "k2")


async def test_a_conversation_has_one_active_reply_and_is_free_again_after_it(database: Database) -> None:
    first = await new_turn(database)
    with pytest.raises(ConversationBusyError) as caught:
        await new_turn(database, first.conversation)
    assert caught.value.generation_id == first.generation.id
    async with database.read() as uow:
        assert len((await uow.messages.list(first.conversation.id)).items) == 2  # the refused turn left nothing

    await new_turn(database)  # another conversation is not concerned
    await database.write(lambda uow: uow.generations.finish(first.generation.id, completed("")))
    second = await new_turn(database, first.conversation)
    async with database.read() as uow:
        assert await uow.generations.active(first.conversation.id) == second.generation


async def test_a_generation_needs_its_message(database: Database) -> None:
    turn = await new_turn(database)
    other = await new_conversation(database)
    with pytest.raises(NotFoundError) as caught:
        await database.write(
            lambda uow: uow.generations.create(
                conversation_id=other.id,
                message_id=turn.reply.id,
                owner="",
                model="m",
                model_revision="r",
                settings={},
                seed=1,
                prompt_tokens=1,
            )
        )
    assert caught.value.kind == "message"


async def test_a_started_generation_says_so_on_its_message_too(database: Database) -> None:
    turn = await new_turn(database)
    started = await database.write(lambda uow: uow.generations.mark_started(turn.generation.id))
    assert started.status == "generating"
    assert started.started_at is not None
    assert started.started_at > started.created_at
    assert (await _reply(database, turn)).status == "generating"
    again = await database.write(lambda uow: uow.generations.mark_started(turn.generation.id))
    assert again.started_at == started.started_at


async def test_the_log_gives_back_every_event_after_any_cursor(database: Database) -> None:
    turn = await new_turn(database)
    events = [
        *tokens("При", "", "віт"),
        TokenRecord(4, 9, "!", {"logprob": -0.5, "top": [[9, -0.5], [3, -1.25]]}),
        *tokens(" ", "👋", "\n", first_seq=5),
    ]
    for window in (events[:1], events[1:4], events[4:6], events[6:]):
        assert await _append(database, turn, window) == window[-1].seq
    async with database.read() as uow:
        for after in range(9):
            assert await uow.generations.tokens(turn.generation.id, after_seq=after) == events[after:]
            for limit in (1, 2, 7, 100):
                read = await uow.generations.tokens(turn.generation.id, after_seq=after, limit=limit)
                assert read == events[after : after + limit]
        assert (await uow.generations.get(turn.generation.id, "")).last_seq == 7


async def test_a_flush_may_be_repeated(database: Database) -> None:
    turn = await new_turn(database)
    await _append(database, turn, tokens("a", "b"))
    assert await _append(database, turn, tokens("a", "b")) == 2
    assert await _append(database, turn, tokens("a", "b", "c")) == 3
    assert await _append(database, turn, []) == 3
    async with database.read() as uow:
        assert await uow.generations.tokens(turn.generation.id) == tokens("a", "b", "c")


@pytest.mark.parametrize("events", [tokens("b", first_seq=2), [*tokens("a"), *tokens("c", first_seq=3)]])
async def test_a_gap_in_the_log_is_refused(database: Database, events: list[TokenRecord]) -> None:
    turn = await new_turn(database)
    with pytest.raises(InvalidInputError):
        await _append(database, turn, events)
    async with database.read() as uow:
        assert await uow.generations.tokens(turn.generation.id) == []


async def test_text_that_no_database_holds_is_refused_in_the_log(database: Database) -> None:
    turn = await new_turn(database)
    for text in ("\x00", "\ud83d"):
        with pytest.raises(InvalidInputError):
            await _append(database, turn, tokens(text))
        with pytest.raises(InvalidInputError):
            await database.write(lambda uow, text=text: uow.generations.finish(turn.generation.id, completed(text)))
    async with database.read() as uow:
        assert (await uow.generations.get(turn.generation.id, "")).status == "queued"


async def test_the_end_is_written_on_generation_message_and_log_at_once(database: Database) -> None:
    turn = await new_turn(database)
    await _append(database, turn, tokens("При"))
    result = completed("Привіт!", *tokens("віт", "!", first_seq=2))
    finished = await database.write(lambda uow: uow.generations.finish(turn.generation.id, result))
    assert (finished.status, finished.finish_reason, finished.last_seq) == ("completed", "stop", 3)
    assert (finished.usage, finished.timings) == (result.usage, result.timings)
    assert finished.finished_at is not None
    reply = await _reply(database, turn)
    assert (reply.status, reply.content, reply.usage, reply.finish_reason) == (
        "completed",
        "Привіт!",
        result.usage,
        "stop",
    )
    async with database.read() as uow:
        assert await uow.generations.tokens(turn.generation.id) == tokens("При", "віт", "!")
        assert (await uow.conversations.get(turn.conversation.id, "")).updated_at > turn.reply.created_at


async def test_a_failed_end_leaves_all_of_it_unwritten(database: Database) -> None:
    turn = await new_turn(database)
    gap = completed("abc", *tokens("c", first_seq=3))
    with pytest.raises(InvalidInputError):
        await database.write(lambda uow: uow.generations.finish(turn.generation.id, gap))
    assert await _reply(database, turn) == turn.reply
    async with database.read() as uow:
        assert await uow.generations.get(turn.generation.id, "") == turn.generation


async def test_the_first_ending_wins(database: Database) -> None:
    turn = await new_turn(database)
    cancelled = GenerationResult("cancelled", "abort", "a", {"completion_tokens": 1}, {}, new_tokens=tuple(tokens("a")))
    first = await database.write(lambda uow: uow.generations.finish(turn.generation.id, cancelled))
    later = await database.write(
        lambda uow: uow.generations.finish(turn.generation.id, completed("ab", *tokens("a", "b")))
    )
    assert later == first
    assert (await _reply(database, turn)).content == "a"
    with pytest.raises(StorageError, match="already ended as cancelled"):
        await _append(database, turn, tokens("a", "b"))
    with pytest.raises(StorageError, match="already ended as cancelled"):
        await database.write(lambda uow: uow.generations.mark_started(turn.generation.id))


async def test_an_active_status_is_no_ending(database: Database) -> None:
    turn = await new_turn(database)
    result = GenerationResult("generating", None, "", {}, {})
    with pytest.raises(InvalidInputError):
        await database.write(lambda uow: uow.generations.finish(turn.generation.id, result))


async def test_a_generation_deleted_meanwhile_is_said_to_be_gone(database: Database) -> None:
    turn = await new_turn(database)
    await database.write(lambda uow: uow.conversations.delete(turn.conversation.id, ""))
    for work in (
        lambda uow: uow.generations.append_tokens(turn.generation.id, tokens("a")),
        lambda uow: uow.generations.finish(turn.generation.id, completed("")),
        lambda uow: uow.generations.mark_started(turn.generation.id),
    ):
        with pytest.raises(NotFoundError):
            await database.write(work)


async def test_after_a_restart_replies_in_progress_are_interrupted_with_the_text_that_was_kept(
    database: Database,
) -> None:
    queued, generating, done = await new_turn(database), await new_turn(database), await new_turn(database)
    await database.write(lambda uow: uow.generations.mark_started(generating.generation.id))
    await _append(database, generating, tokens("При", "віт"))
    await _append(database, generating, tokens(" 👋", first_seq=3))
    await database.write(lambda uow: uow.generations.finish(done.generation.id, completed("done")))

    ids = await database.write(lambda uow: uow.generations.interrupt_active())

    assert ids == (queued.generation.id, generating.generation.id)
    reply = await _reply(database, generating)
    assert (reply.status, reply.content) == ("interrupted", "Привіт 👋")
    assert reply.usage == {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10, "cached_tokens": 0}
    assert (await _reply(database, queued)).status == "interrupted"
    assert (await _reply(database, done)).status == "completed"
    async with database.read() as uow:
        generation = await uow.generations.get(generating.generation.id, "")
        assert (generation.status, generation.error_code, generation.last_seq) == ("interrupted", "interrupted", 3)
        assert generation.finished_at is not None
        assert await uow.generations.active(generating.conversation.id) is None
    assert await database.write(lambda uow: uow.generations.interrupt_active()) == ()
