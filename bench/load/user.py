"""A user of the mixed load: picks one thing after another of all that the service can be asked, until time is over."""

import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx

from bench.load.asker import Answers, Asker
from bench.load.conversations import Conversations
from bench.load.misuse import Misuse
from bench.load.openai import OpenAi


class User:
    def __init__(self, client: httpx.AsyncClient, database_path: Path, answers: Answers, seed: int) -> None:
        """`client` carries a key with every scope. Keys of its own the user creates in the database."""
        asker = Asker(client, answers, random.Random(seed))
        self._asker = asker
        self._conversations = Conversations(asker)
        self._openai = OpenAi(asker)
        misuse = Misuse(asker, self._conversations, database_path)
        often = [*self._conversations.actions, *self._openai.actions, *misuse.actions]
        self._actions = 4 * often + misuse.rare_actions

    async def run(self, until: float) -> None:
        """Until that moment of time.monotonic(); then it leaves nothing behind."""
        while time.monotonic() < until:
            await self._do(self._asker.random.choice(self._actions))
        await self._do(self._conversations.tidy_up)
        await self._do(self._openai.tidy_up)

    async def _do(self, action: Callable[[], Awaitable[None]]) -> None:
        try:
            await action()
        except Exception as error:
            self._asker.answers.wrong.append(f"{action.__name__}: {type(error).__name__}: {error}"[:300])
