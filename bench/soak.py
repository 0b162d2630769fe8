"""Mixed load for a while, after which nothing may have grown: `python -m bench.soak --minutes 60`.

Users who read to the end, leave and resume, cancel, hang up, ask too much at once, list, search, import and delete.
Memory of both processes, file handles, threads and tasks are looked at all along. Flat means: the median of the last
third is no more than that of the middle third and a little (LIMITS), and when everybody has left, handles and tasks are
where they were before. Exits with 1 where that does not hold, or where an answer was none of the expected.
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from tests.e2e.service import Service

from bench.processes import process_state

NUM_USERS = 8
SAMPLE_S = 1.0
SETTLE_S = 8.0
# Growth from the middle third to the last that is still flat: a factor, and so much more. Handles and tasks go up and
# down with what is in progress; that none of them stays is seen when everybody has left.
LIMITS = {"rss_mb": (1.02, 3.0), "fds": (1.5, 20.0), "threads": (1.0, 8.0), "tasks": (1.5, 20.0)}
# What goes back to where it was when everybody has left. Memory is kept, and so are a pool's threads, up to its size.
# Handles: but for connections to the store, which are opened as they are needed, up to a bound, and have three each.
RETURNING = {"fds": 15.0, "tasks": 0.0}
# The answers that the load may get. 409: a conversation that is busy; 404: one that another user has deleted.
EXPECTED = {200, 201, 204, 404, 409, 429}
REPLY = {"max_new_tokens": 40}
ENVIRONMENT = {"GPT2SVC_MAX_NUM_SEQS": "4", "GPT2SVC_MAX_QUEUED_REQUESTS": "4", "GPT2SVC_LOG_LEVEL": "warning"}


@dataclass(slots=True)
class Soak:
    """What happened: samples by name, answers by action and status, and what was wrong."""

    samples: dict[str, list[float]] = field(default_factory=dict)
    answers: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def note(self, name: str, value: float) -> None:
        self.samples.setdefault(name, []).append(value)

    def growth(self) -> list[str]:
        """Which samples are not flat."""
        found = []
        for name, values in self.samples.items():
            third = len(values) // 3
            middle, last = statistics.median(values[third : 2 * third]), statistics.median(values[2 * third :])
            factor, more = LIMITS[name.split()[-1]]
            if last > middle * factor + more:
                found.append(f"{name} grew from {middle:g} to {last:g}")
        return found


class User:
    """Picks one thing after another, until the time is over."""

    def __init__(self, client: httpx.AsyncClient, soak: Soak, seed: int) -> None:
        self._client = client
        self._soak = soak
        self._random = random.Random(seed)
        self._actions = [
            self._read_reply,
            self._leave_and_resume,
            self._cancel,
            self._stream_text,
            self._whole_text,
            self._hang_up,
            self._ask_too_much,
            self._list,
            self._transfer,
        ]

    async def run(self, until: float) -> None:
        while time.monotonic() < until:
            action = self._random.choice(self._actions)
            try:
                await action()
            except Exception as error:
                self._soak.wrong.append(f"{action.__name__}: {type(error).__name__}: {error}"[:300])

    async def _ask(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        response = await self._client.request(method, path, **arguments)
        self._count(method, path, response.status_code)
        return response

    def _count(self, method: str, path: str, status: int) -> None:
        kind = path.split("?")[0].split("/")[1:3]
        self._soak.answers[f"{method} /{'/'.join(kind)} {status}"] += 1
        if status not in EXPECTED:
            self._soak.wrong.append(f"{method} {path}: {status}")

    async def _new_conversation(self) -> str:
        return str((await self._ask("POST", "/api/conversations", json={})).json()["id"])

    async def _post(self, conversation: str, num_events: int | None = None) -> tuple[str, bytes]:
        """The generation's id ("" when it was refused) and its stream, or that up to `num_events` of its events."""
        body = {"content": "Hello! How are you?", "stream": True, "settings": REPLY}
        path = f"/api/conversations/{conversation}/messages"
        async with self._client.stream("POST", path, json=body) as response:
            self._count("POST", path, response.status_code)
            received = b""
            if response.status_code != 200:
                await response.aread()
                return "", received
            async for chunk in response.aiter_raw():
                received += chunk
                if num_events is not None and received.count(b"\n\n") >= num_events:
                    break
        return json.loads(received.split(b"data: ", 1)[1].split(b"\n", 1)[0])["generation_id"], received

    async def _read_reply(self) -> None:
        conversation = await self._new_conversation()
        for _ in range(self._random.randint(1, 3)):
            generation_id, received = await self._post(conversation)
            if generation_id and b"event: done" not in received:
                self._soak.wrong.append(f"a reply without its end: {received[-200:]!r}")
        await self._ask("GET", f"/api/conversations/{conversation}/messages")

    async def _leave_and_resume(self) -> None:
        generation_id, received = await self._post(await self._new_conversation(), self._random.randint(1, 12))
        if generation_id:
            seen = received.count(b"event: token")
            headers = {"Last-Event-ID": str(seen)}
            rest = await self._ask("GET", f"/api/generations/{generation_id}/events", headers=headers)
            if rest.status_code == 200 and b"event: done" not in rest.content:
                self._soak.wrong.append(f"a resumed reply without its end: {rest.content[-200:]!r}")

    async def _cancel(self) -> None:
        conversation = await self._new_conversation()
        generation_id, _ = await self._post(conversation, self._random.randint(1, 8))
        if generation_id:
            await self._ask("POST", f"/api/generations/{generation_id}/cancel")
        await self._ask("DELETE", f"/api/conversations/{conversation}")

    def _text(self, *, is_stream: bool, length: int = 30) -> dict[str, Any]:
        return {"prompt": "Once upon a time", "max_tokens": length, "stream": is_stream}

    async def _stream_text(self) -> None:
        response = await self._ask("POST", "/v1/completions", json=self._text(is_stream=True))
        if response.status_code == 200 and b"[DONE]" not in response.content:
            self._soak.wrong.append(f"a text without its end: {response.content[-200:]!r}")

    async def _whole_text(self) -> None:
        await self._ask("POST", "/v1/completions", json=self._text(is_stream=False))

    async def _hang_up(self) -> None:
        body = self._text(is_stream=self._random.random() < 0.5, length=400)
        try:
            async with asyncio.timeout(self._random.uniform(0.0, 0.3)):
                await self._ask("POST", "/v1/completions", json=body)
        except TimeoutError:
            self._soak.answers["POST /v1/completions, hung up"] += 1

    async def _ask_too_much(self) -> None:
        body = self._text(is_stream=False, length=5)
        await asyncio.gather(*(self._ask("POST", "/v1/completions", json=body) for _ in range(20)))

    async def _list(self) -> None:
        for path in ("/api/conversations?limit=20", "/api/conversations?search=you", "/api/models", "/api/health"):
            await self._ask("GET", path)

    async def _transfer(self) -> None:
        conversation = await self._new_conversation()
        await self._post(conversation, 3)
        exported = await self._ask("GET", f"/api/export?conversation_id={conversation}")
        headers = {"Content-Type": "application/json"}
        await self._ask("POST", "/api/import", content=exported.content, headers=headers)
        await self._ask("DELETE", f"/api/conversations/{conversation}")


async def _sample(client: httpx.AsyncClient, service: Service, soak: Soak) -> dict[str, float]:
    metrics = (await client.get("/metrics")).text
    values = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if not line.startswith("#"))
    found = {"api tasks": float(values["gpt2svc_asyncio_tasks"])}
    for name, pid in (("api", service.process.pid), ("worker", service.worker_pids()[0])):
        state = process_state(pid)
        found[f"{name} rss_mb"] = state.rss_bytes / 1e6
        found[f"{name} fds"] = float(state.num_fds)
        found[f"{name} threads"] = float(state.num_threads)
    for name, value in found.items():
        soak.note(name, value)
    return found


async def soak_service(service: Service, seconds: float, num_users: int = NUM_USERS) -> Soak:
    """Load a running service; the first sixth of the time is not counted: caches fill, pools grow to their size."""
    soak = Soak()
    before = await _before(service)
    limits = httpx.Limits(max_connections=200)
    async with httpx.AsyncClient(base_url=service.url, timeout=60, limits=limits) as client:
        until = time.monotonic() + seconds
        users = [asyncio.create_task(User(client, soak, seed).run(until)) for seed in range(num_users)]
        await asyncio.sleep(seconds / 6)
        while time.monotonic() < until:
            await _sample(client, service, soak)
            await asyncio.sleep(SAMPLE_S)
        await asyncio.gather(*users)
    soak.wrong += soak.growth()
    after = await _after(service, before)
    soak.wrong += [
        f"{name} was {before[name]:g}, and is {after[name]:g} with nobody there"
        for name in before
        if not _is_back(name, after[name], before[name])
    ]
    return soak


async def _before(service: Service) -> dict[str, float]:
    """With every pool in use once: connections and threads that stay are then there."""
    async with httpx.AsyncClient(base_url=service.url, timeout=60) as client:
        users = [User(client, Soak(), seed) for seed in range(100, 104)]
        await asyncio.gather(*(user.run(time.monotonic() + 3) for user in users))
    return await _quiet_state(service)


async def _after(service: Service, before: dict[str, float]) -> dict[str, float]:
    """Once it is no more than `before`, or has had SETTLE_S to get there."""
    deadline = time.monotonic() + SETTLE_S
    while True:
        state = await _quiet_state(service)
        is_back = all(_is_back(name, state[name], before[name]) for name in before)
        if is_back or time.monotonic() > deadline:
            return state


def _is_back(name: str, after: float, before: float) -> bool:
    return after <= before + RETURNING.get(name.split()[-1], float("inf"))


async def _quiet_state(service: Service) -> dict[str, float]:
    await asyncio.sleep(1.0)
    async with httpx.AsyncClient(base_url=service.url, timeout=60) as client:
        return await _sample(client, service, Soak())


def report(soak: Soak) -> None:
    for name, values in sorted(soak.samples.items()):
        third = max(1, len(values) // 3)
        parts = [statistics.median(values[i * third : (i + 1) * third] or values) for i in range(3)]
        print(f"{name:16} medians of the thirds {' / '.join(f'{part:.4g}' for part in parts):24} max {max(values):.4g}")
    print(f"{sum(soak.answers.values())} answers: " + ", ".join(f"{k}: {n}" for k, n in sorted(soak.answers.items())))
    for line in soak.wrong[:40]:
        print(f"WRONG: {line}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Mixed load, after which nothing may have grown.")
    parser.add_argument("--minutes", type=float, default=5.0)
    minutes = parser.parse_args().minutes
    with tempfile.TemporaryDirectory() as folder, Service(Path(folder) / "data", environment=ENVIRONMENT) as service:
        service.wait_until_ready()
        soak = asyncio.run(soak_service(service, 60 * minutes))
        report(soak)
        code = service.terminate()
        print(f"exit code {code}, {service.log.count('Traceback')} tracebacks in the log")
        if "Traceback" in service.log:
            print(service.log[-4000:])
        sys.exit(1 if soak.wrong or code or "Traceback" in service.log else 0)


if __name__ == "__main__":
    main()
