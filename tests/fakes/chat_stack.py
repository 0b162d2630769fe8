"""Everything below HTTP on a real database file, with a scripted engine in the model's place."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from gpt2svc.chat.conversations import ConversationService
from gpt2svc.chat.edits import EditService
from gpt2svc.chat.prompt import PromptBudget
from gpt2svc.chat.turns import AcceptedTurn, TurnService
from gpt2svc.errors import StorageFullError
from gpt2svc.generation.admission import Admission
from gpt2svc.generation.events import Event, Token
from gpt2svc.generation.supervisor import GenerationSupervisor
from gpt2svc.models.tokenizer import Tokenizer
from gpt2svc.persistence.database import Database
from gpt2svc.persistence.records import GenerationRecord, MessageRecord
from gpt2svc.persistence.unit_of_work import UnitOfWork
from tests.fakes.engine import ScriptedEngine, ScriptedPool
from tests.fakes.tokenizer import write_tokenizer_folder

T = TypeVar("T")


class FillableDatabase(Database):
    """Its disk is full while `is_full` is set. `num_writes` counts transactions."""

    is_full = False
    num_writes = 0

    async def write(self, work: Callable[[UnitOfWork], Awaitable[T]]) -> T:
        if self.is_full:
            raise StorageFullError("The disk is full.")
        self.num_writes += 1
        return await super().write(work)


class ChatStack:
    """`start`, then `stop` or `crash`; another one on the same folder is the service started again."""

    def __init__(
        self,
        folder: Path,
        *,
        n_positions: int = 512,
        max_requests: int = 256,
        max_tokens: int = 1_000_000,
        flush_interval_s: float = 0.01,
        budget: PromptBudget | None = None,
    ) -> None:
        self.tokenizer = Tokenizer.from_folder(write_tokenizer_folder(folder / "model"))
        self.engine = ScriptedEngine(self.tokenizer, n_positions=n_positions)
        self.other_engine = ScriptedEngine(self.tokenizer, model="other", n_positions=64)
        self.pool = ScriptedPool(self.engine, self.other_engine)
        self.database = FillableDatabase(folder / "gpt2svc.db", synchronous="NORMAL")
        self.admission = Admission(max_requests, max_tokens)
        self.supervisor = GenerationSupervisor(
            self.database, self.pool, self.admission, flush_interval_s=flush_interval_s
        )
        self.conversations = ConversationService(self.database, self.pool, self.supervisor)
        self.edits = EditService(self.database)
        self.turns = TurnService(
            self.database, self.pool, self.admission, self.supervisor, budget if budget is not None else PromptBudget()
        )

    async def start(self) -> None:
        await self.database.open()
        await self.supervisor.start()

    async def stop(self, drain_s: float = 0.0) -> None:
        await self.supervisor.stop(drain_s)
        await self.database.close()

    async def crash(self) -> None:
        """As a kill between two transactions does: the supervisor's tasks just go, nothing more is written."""
        names = ("generation-", "read-", "log-writer")
        tasks = [task for task in asyncio.all_tasks() if task.get_name().startswith(names)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.database.close()

    async def converse(self, content: str = "Hello there", owner: str = "", **settings: Any) -> AcceptedTurn:
        """A message in a new conversation."""
        conversation = await self.conversations.create(owner)
        return await self.turns.post(conversation.id, owner, content, settings=settings)

    async def events(self, generation_id: str, after: int | None = None, owner: str = "") -> list[Event]:
        return [event async for event in self.supervisor.events(generation_id, owner, after)]

    async def wait_for_tokens(self, generation_id: str, count: int) -> None:
        """Until so many token events have been published."""
        num_seen = 0
        async for event in self.supervisor.events(generation_id, ""):
            num_seen += isinstance(event, Token)
            if num_seen >= count:
                return

    async def generation(self, turn: AcceptedTurn, owner: str = "") -> GenerationRecord:
        async with self.database.read() as uow:
            return await uow.generations.get(turn.generation_id, owner)

    async def message(self, turn: AcceptedTurn) -> MessageRecord:
        record = await self.generation(turn)
        async with self.database.read() as uow:
            return await uow.messages.get(turn.message_id, record.conversation_id)


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Return once it holds; the test's time limit ends it where it never does."""
    while True:
        holds = condition()
        if await holds if isinstance(holds, Awaitable) else holds:
            return
        await asyncio.sleep(0.001)


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Token))
