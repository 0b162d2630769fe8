"""Mixed load for a while, after which nothing may have grown: `python -m bench.soak --minutes 60`.

Users who read to the end, leave and resume, cancel, hang up, ask too much at once, ask wrongly, score, embed, list,
search, import, delete, and come with keys that are revoked (load/). Memory, handles and threads of both processes, the
tasks of the API process, and the database's files are looked at all along; flatness.py judges them. When everybody has
left, handles, threads and tasks are where they were before. Exits with 1 where any of that does not hold, or where an
answer was none of the expected.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx
from tests.e2e.service import Service

from bench.flatness import Series
from bench.load.asker import Answers
from bench.load.user import User
from bench.processes import process_state

NUM_USERS = 8
SAMPLE_S = 1.0
SETTLE_S = 30.0  # at most: a busy machine needs longer to see who has left
# The first third is not judged: caches fill, pools grow to their size. A run that is shorter than this consists of
# little else, so that only what stays when everybody has left is judged.
MIN_JUDGED_S = 180.0
# What may be there beyond what was, with nobody there. Memory is kept; handles and threads: but for connections to the
# store, which are opened as they are needed, up to a bound, and have three handles and a thread each.
RETURNING = {"fds": 15.0, "threads": 8.0, "tasks": 0.0}
NUM_SEQS = 4
KEY = "a-key-of-the-soak-with-all-scopes"
ENVIRONMENT = {
    "GPT2SVC_API_KEY": KEY,
    "GPT2SVC_MAX_NUM_SEQS": str(NUM_SEQS),
    "GPT2SVC_MAX_QUEUED_REQUESTS": "4",
    "GPT2SVC_LOG_LEVEL": "warning",
}


class Soak:
    """Load on a running service, what it answered, and what was measured meanwhile."""

    def __init__(self, service: Service, num_users: int = NUM_USERS, progress: Callable[[str], None] | None = None):
        """`progress` hears a line every minute."""
        self._service = service
        self._num_users = num_users
        self._progress = progress
        self.answers = Answers()
        self.series = Series()
        self.wrong: list[str] = []

    async def run(self, seconds: float) -> None:
        before = await self._warm()
        start = time.monotonic()
        judged = start + seconds / 3
        load = asyncio.create_task(self._load(self.answers, start + seconds, range(self._num_users)))
        minute = Series()
        while not load.done():
            found = await self._sample()
            num_answers = self.answers.counts.total()
            minute.note(num_answers, found)
            if judged <= time.monotonic() < start + seconds:
                self.series.note(num_answers, found)
            if len(minute.num_answers) >= 60 / SAMPLE_S:
                self._tell(f"minute {(time.monotonic() - start) / 60:.0f}", minute)
                minute = Series()
            await asyncio.wait((load,), timeout=SAMPLE_S)
        await load
        self.wrong += self.answers.wrong
        if seconds >= MIN_JUDGED_S:
            self.wrong += self.series.growth()
        await self._check_return(before)

    def _tell(self, title: str, series: Series) -> None:
        if self._progress is not None:
            medians = ", ".join(f"{name} {statistics.median(values):.5g}" for name, values in series.values.items())
            self._progress(f"{title}: {series.num_answers[-1]} answers, {len(self.answers.wrong)} wrong; {medians}")

    async def _load(self, answers: Answers, until: float, seeds: range) -> None:
        async with self._client(max_connections=200) as client:
            path = self._service.data_dir / "gpt2svc.db"
            users = [User(client, path, answers, seed) for seed in seeds]
            await asyncio.gather(*(user.run(until) for user in users))

    async def _warm(self) -> dict[str, float]:
        """The state with nobody there, after every pool was in use: connections and threads that stay are there, and
        the whole key-value cache has been written, which takes its memory when it is first touched."""
        async with self._client() as client:
            window = (await client.get("/tokenizer_info")).json()["model_max_length"]
            prompts = [[number] * (window - 1) for number in range(NUM_SEQS)]
            (await client.post("/v1/completions", json={"prompt": prompts, "max_tokens": 1})).raise_for_status()
        await self._load(Answers(), time.monotonic() + 3, range(100, 104))
        return await self._quiet_state()

    async def _check_return(self, before: dict[str, float]) -> None:
        deadline = time.monotonic() + SETTLE_S
        while True:
            after = await self._quiet_state()
            kept = {
                name: (before[name], value)
                for name, value in after.items()
                if value > before[name] + RETURNING.get(name.split()[-1], float("inf"))
            }
            if not kept or time.monotonic() > deadline:
                break
        self.wrong += [f"{name} was {old:g}, and is {new:g} with nobody there" for name, (old, new) in kept.items()]

    async def _quiet_state(self) -> dict[str, float]:
        await asyncio.sleep(1.0)
        return await self._sample()

    async def _sample(self) -> dict[str, float]:
        async with self._client() as client:
            metrics = (await client.get("/metrics")).text
        values = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if not line.startswith("#"))
        found = {"api tasks": float(values["gpt2svc_asyncio_tasks"])}
        for name, pid in (("api", self._service.process.pid), ("worker", self._service.worker_pids()[0])):
            state = process_state(pid)
            found[f"{name} rss_mb"] = state.rss_bytes / 1e6
            found[f"{name} fds"] = float(state.num_fds)
            found[f"{name} threads"] = float(state.num_threads)
        for name, file in (("database_mb", "gpt2svc.db"), ("log_mb", "gpt2svc.db-wal")):
            found[name] = (self._service.data_dir / file).stat().st_size / 1e6
        return found

    def _client(self, max_connections: int = 1) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self._service.url,
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=60,
            limits=httpx.Limits(max_connections=max_connections),
        )

    def report(self) -> None:
        for name, values in sorted(self.series.values.items()):
            third = max(1, len(values) // 3)
            parts = [statistics.median(values[i * third : (i + 1) * third] or values) for i in range(3)]
            medians = " / ".join(f"{part:.4g}" for part in parts)
            print(f"{name:16} medians of the thirds {medians:24} max {max(values):.4g}")
        counts = self.answers.counts
        print(f"{counts.total()} answers: " + ", ".join(f"{name}: {count}" for name, count in sorted(counts.items())))
        for line in self.wrong[:40]:
            print(f"WRONG: {line}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Mixed load, after which nothing may have grown.")
    parser.add_argument("--minutes", type=float, default=5.0)
    minutes = parser.parse_args().minutes
    with tempfile.TemporaryDirectory() as folder, Service(Path(folder) / "data", environment=ENVIRONMENT) as service:
        service.wait_until_ready()
        soak = Soak(service, progress=lambda line: print(line, flush=True))
        asyncio.run(soak.run(60 * minutes))
        soak.report()
        code = service.terminate()
        print(f"exit code {code}, {service.log.count('Traceback')} tracebacks in the log")
        if "Traceback" in service.log:
            print(service.log[-4000:])
        sys.exit(1 if soak.wrong or code or "Traceback" in service.log else 0)


if __name__ == "__main__":
    main()
