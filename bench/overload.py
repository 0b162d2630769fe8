"""A thousand POSTs at once against a service that is full with 16 replies: `python -m bench.overload`.

What a refusal costs the service (processor time of the API process), when its answer arrives (as a bare client on the
same cores sees it, from the sending of each request), and what the burst takes from the 16 streams that are running:
their tokens a second from first to last, in runs with and without a burst by turns.
"""

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.service import Service
from tests.e2e.starter import endless

from bench import burst
from bench.figures import Figure, print_table
from bench.processes import cpu_seconds

NUM_STREAMS = 16
NUM_POSTS = 1000
NUM_RUNS = 3
NUM_TOKENS = 600
MODES = {
    f"{NUM_POSTS} at once, connections kept": ("keep-alive",),
    f"{NUM_POSTS} at once, new connections": ("new",),
    f"{NUM_POSTS} within a second, connections kept": ("keep-alive", "1"),
}
TARGET_MS = 50.0
TARGET_KEPT = 98.0  # percent of the throughput without a burst
ENVIRONMENT = {"GPT2SVC_MAX_NUM_SEQS": str(NUM_STREAMS), "GPT2SVC_MAX_QUEUED_REQUESTS": "0"}


@dataclass(frozen=True, slots=True)
class Burst:
    latencies_ms: list[float]
    cpu_us: float  # of the API process, for each request


@dataclass(frozen=True, slots=True)
class Run:
    tokens_per_s: float
    burst: Burst | None


def measure() -> list[Figure]:
    figures = []
    with tempfile.TemporaryDirectory() as folder, Service(Path(folder) / "data", environment=ENVIRONMENT) as service:
        service.wait_until_ready()
        asyncio.run(_run(service, None))
        plain, kept = [], []
        bursts: dict[str, list[Burst]] = {of: [] for of in MODES}
        for _ in range(NUM_RUNS):
            for of, found in bursts.items():
                without, with_burst = asyncio.run(_run(service, None)), asyncio.run(_run(service, MODES[of]))
                plain.append(without.tokens_per_s)
                kept.append(100 * with_burst.tokens_per_s / without.tokens_per_s)
                if with_burst.burst is not None:
                    found.append(with_burst.burst)
        for of, found in bursts.items():
            medians = tuple(statistics.median(each.latencies_ms) for each in found)
            slowest = tuple(max(each.latencies_ms) for each in found)
            figures += [
                Figure(f"{of}: to the 429, median", "ms", medians, target=TARGET_MS),
                Figure(f"{of}: to the 429, slowest", "ms", slowest, target=TARGET_MS),
                Figure(f"{of}: API process, a request", "µs", tuple(each.cpu_us for each in found)),
            ]
        figures += [
            Figure(f"{NUM_STREAMS} streams: tokens", "tok/s", tuple(plain), is_more_better=True),
            Figure("the same with a burst, of that", "%", tuple(kept), target=TARGET_KEPT, is_more_better=True),
        ]
        service.terminate()
    return figures


async def _run(service: Service, mode: tuple[str, ...] | None) -> Run:
    """16 replies from their first tokens to the first one's end, all places taken; with a burst in the middle."""
    conversations = [service.new_conversation() for _ in range(NUM_STREAMS + 1)]
    times: list[list[float]] = [[] for _ in range(NUM_STREAMS)]
    streams = [
        asyncio.create_task(_stream(service.port, conversation, found))
        for conversation, found in zip(conversations, times, strict=False)
    ]
    while not all(times):  # noqa: ASYNC110 (there is no event: the streams only note times)
        await asyncio.sleep(0.02)
    found = await _burst(service, conversations[-1], mode) if mode is not None else None
    await asyncio.gather(*streams)
    begin, end = max(each[0] for each in times), min(each[-1] for each in times)
    num_tokens = sum(begin <= moment <= end for each in times for moment in each)
    return Run(num_tokens / (end - begin), found)


async def _stream(port: int, conversation: str, times: list[float]) -> None:
    body = json.dumps({"content": "Hello!", "settings": endless(NUM_TOKENS), "stream": True}).encode()
    head = (
        f"POST /api/conversations/{conversation}/messages HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head + body)
    is_done = False
    while chunk := await reader.read(65536):
        times += [time.perf_counter()] * chunk.count(b"event: token\n")
        is_done |= b"event: done\n" in chunk
    writer.close()
    if not is_done:
        raise RuntimeError("a reply without its end")


async def _burst(service: Service, conversation: str, mode: tuple[str, ...]) -> Burst:
    path = f"/api/conversations/{conversation}/messages"
    before = cpu_seconds(service.process.pid)
    command = [sys.executable, "-S", burst.__file__, str(service.port), path, str(NUM_POSTS), *mode]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    output, _ = await process.communicate()
    # NOTE: the 16 streams' share of this time is in it too: an upper bound.
    cpu_us = 1e6 * (cpu_seconds(service.process.pid) - before) / NUM_POSTS
    result = json.loads(output)
    if result["statuses"] != {"429": NUM_POSTS}:
        raise RuntimeError(f"not all were refused: {result['statuses']}")
    return Burst(result["latencies_ms"], cpu_us)


if __name__ == "__main__":
    print_table("Overload", measure())
