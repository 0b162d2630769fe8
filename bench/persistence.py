"""How long the store takes: `python bench/persistence.py` prints milliseconds a call.

100 conversations of 20 messages, as in the promise that each call takes under 50 ms, and the writes of a reply.
"""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from gpt2svc.persistence.database import Database
from gpt2svc.persistence.records import ConversationRecord, TokenRecord
from gpt2svc.persistence.unit_of_work import UnitOfWork

NUM_CONVERSATIONS = 100
NUM_MESSAGES = 20
TEXT = "Привіт! Розкажи мені, будь ласка, про погоду у Львові. " * 8  # some 440 characters


async def fill(uow: UnitOfWork) -> list[ConversationRecord]:
    conversations = []
    for number in range(NUM_CONVERSATIONS):
        conversation = await uow.conversations.create(owner="", title=f"Розмова {number}")
        parent_id = None
        for turn in range(NUM_MESSAGES):
            role = "user" if turn % 2 == 0 else "assistant"
            message = await uow.messages.create(
                conversation_id=conversation.id, role=role, content=TEXT, parent_id=parent_id
            )
            parent_id = message.id
        conversations.append(conversation)
    return conversations


async def start_generation(uow: UnitOfWork, conversation_id: str) -> str:
    reply = await uow.messages.create(conversation_id=conversation_id, role="assistant", content="", status="queued")
    generation = await uow.generations.create(
        conversation_id=conversation_id,
        message_id=reply.id,
        owner="",
        model="starter",
        model_revision="0123456789ab",
        settings={},
        seed=1,
        prompt_tokens=100,
    )
    return generation.id


async def measure(name: str, call: Callable[[], Awaitable[object]], *, num_calls: int = 100) -> None:
    await call()
    times = []
    for _ in range(num_calls):
        start = time.perf_counter()
        await call()
        times.append((time.perf_counter() - start) * 1000)
    times.sort()
    print(f"{name:<44} median {times[len(times) // 2]:7.2f} ms   worst {times[-1]:7.2f} ms")


async def run(folder: Path) -> None:
    start = time.perf_counter()
    async with Database(folder / "gpt2svc.db") as database:
        print(f"open, with the first migration: {(time.perf_counter() - start) * 1000:.0f} ms")
        conversations = await database.write(fill)
        middle = conversations[NUM_CONVERSATIONS // 2]

        async def read(work: Callable[[UnitOfWork], Awaitable[object]]) -> object:
            async with database.read() as uow:
                return await work(uow)

        async with database.read() as uow:
            last = await uow.messages.last(middle.id)
        last_id = "" if last is None else last.id
        reads: dict[str, Callable[[UnitOfWork], Awaitable[object]]] = {
            "list 20 conversations": lambda uow: uow.conversations.list(""),
            "list 100 conversations": lambda uow: uow.conversations.list("", limit=100),
            "read a conversation": lambda uow: uow.conversations.get(middle.id, ""),
            "read its 20 messages": lambda uow: uow.messages.list(middle.id),
            "read a prompt's path of 20": lambda uow: uow.messages.path_to(last_id),
            "search 2,000 messages, a hit in each": lambda uow: uow.conversations.list("", search="ЛЬВОВІ"),
            "search 2,000 messages, no hit": lambda uow: uow.conversations.list("", search="Київ"),
        }
        for name, work in reads.items():
            await measure(name, lambda work=work: read(work))

        generation_id = await database.write(lambda uow: start_generation(uow, middle.id))
        last_seq = 0

        async def flush() -> None:
            nonlocal last_seq
            window = [TokenRecord(last_seq + 1 + index, 100, " слово") for index in range(25)]
            last_seq = await database.write(lambda uow: uow.generations.append_tokens(generation_id, window))

        await measure("flush a window of 25 tokens", flush)
        await measure(f"read back {last_seq} tokens", lambda: read(lambda uow: uow.generations.tokens(generation_id)))
        await measure(
            "write a message",
            lambda: database.write(
                lambda uow: uow.messages.create(conversation_id=middle.id, role="user", content=TEXT)
            ),
        )
    start = time.perf_counter()
    async with Database(folder / "gpt2svc.db"):
        print(f"open again: {(time.perf_counter() - start) * 1000:.0f} ms")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(run(Path(name)))
