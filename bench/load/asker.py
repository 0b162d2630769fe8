"""Requests of one user of the mixed load, and what became of them."""

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

# The answers that the load may get. 409: a conversation that is busy; 429: too much at once.
EXPECTED: Final = frozenset({200, 201, 204, 409, 429})


@dataclass(slots=True)
class Answers:
    """Answers by request and status, and what was wrong."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def note(self, method: str, path: str, status: int, expected: frozenset[int] = EXPECTED) -> None:
        parts = path.split("?")[0].split("/")[1:]
        self.counts[f"{method} /{'/'.join(parts[:2] + parts[3:4])} {status}"] += 1
        if status not in expected:
            self.wrong.append(f"{method} {path}: {status}")


@dataclass(frozen=True, slots=True)
class Asker:
    """`client` carries a key with every scope."""

    client: httpx.AsyncClient
    answers: Answers
    random: random.Random

    async def ask(self, method: str, path: str, *also_expected: int, **arguments: Any) -> httpx.Response:
        return await self._noted(method, path, EXPECTED.union(also_expected), arguments)

    async def be_refused(self, method: str, path: str, *expected: int, **arguments: Any) -> httpx.Response:
        """Too much at once is a reason too, and comes first."""
        return await self._noted(method, path, frozenset({429, *expected}), arguments)

    async def _noted(
        self, method: str, path: str, expected: frozenset[int], arguments: dict[str, Any]
    ) -> httpx.Response:
        response = await self.client.request(method, path, **arguments)
        self.answers.note(method, path, response.status_code, expected)
        return response

    def check(self, is_so: bool, what: str, content: bytes) -> None:
        if not is_so:
            self.answers.wrong.append(f"{what}: {content[-300:]!r}")

    def is_heads(self, probability: float = 0.5) -> bool:
        return self.random.random() < probability
