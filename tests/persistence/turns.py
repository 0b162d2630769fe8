"""A turn as the chat layer writes it: the user's message, the reply's message, its generation."""

from dataclasses import dataclass

from gpt2svc.persistence.database import Database
from gpt2svc.persistence.records import (
    ConversationRecord,
    GenerationRecord,
    GenerationResult,
    MessageRecord,
    TokenRecord,
)
from gpt2svc.persistence.unit_of_work import UnitOfWork

SETTINGS = {"temperature": 0.7, "seed": 42, "stop": ["\n", "Кінець"]}


@dataclass(frozen=True)
class Turn:
    conversation: ConversationRecord
    question: MessageRecord
    reply: MessageRecord
    generation: GenerationRecord


async def new_conversation(database: Database, *, owner: str = "", title: str | None = None) -> ConversationRecord:
    return await database.write(lambda uow: uow.conversations.create(owner=owner, title=title))


async def add_message(
    database: Database, conversation: ConversationRecord, content: str, *, parent_id: str | None = None
) -> MessageRecord:
    return await database.write(
        lambda uow: uow.messages.create(
            conversation_id=conversation.id, role="user", content=content, parent_id=parent_id
        )
    )


async def new_turn(
    database: Database, conversation: ConversationRecord | None = None, *, owner: str = "", content: str = "Hello!"
) -> Turn:
    there = conversation if conversation is not None else await new_conversation(database, owner=owner)
    generation_id = database.ids.new_generation_id()

    async def work(uow: UnitOfWork) -> Turn:
        last = await uow.messages.last(there.id)
        question = await uow.messages.create(
            conversation_id=there.id, role="user", content=content, parent_id=None if last is None else last.id
        )
        reply = await uow.messages.create(
            conversation_id=there.id,
            role="assistant",
            content="",
            parent_id=question.id,
            status="queued",
            generation_id=generation_id,
            settings=SETTINGS,
            model="starter",
            model_revision="0123456789ab",
        )
        generation = await uow.generations.create(
            conversation_id=there.id,
            message_id=reply.id,
            owner=owner,
            model="starter",
            model_revision="0123456789ab",
            settings=SETTINGS,
            seed=42,
            prompt_tokens=7,
            dropped_message_ids=[question.id],
            generation_id=generation_id,
        )
        return Turn(there, question, reply, generation)

    return await database.write(work)


def tokens(*texts: str, first_seq: int = 1) -> list[TokenRecord]:
    return [TokenRecord(seq, 1000 + seq, text) for seq, text in enumerate(texts, start=first_seq)]


def completed(text: str, *new_tokens: TokenRecord) -> GenerationResult:
    return GenerationResult(
        status="completed",
        finish_reason="stop",
        text=text,
        usage={"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10, "cached_tokens": 0},
        timings={"queued": 0.01, "total": 0.5},
        new_tokens=new_tokens,
    )
