"""GPT-2's full size over HTTP: how much of the engine's own speed arrives, how fair it is, and what memory it takes.

    python -m bench.full_size [--rounds 3]

The real service with a random model of GPT-2 124M's shapes, /v1/completions with prompts of 64 token ids and 64 new
tokens, streamed to a client on the same cores; beside it, in the same rounds, the engine alone in a process with the
same threads. Memory is the most that the worker process has had resident.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.e2e.service import Service

from bench.figures import Figure, print_table
from bench.peer_process import PeerProcess
from bench.random_model import VOCAB_SIZE, write_random_gpt2

NUM_TOKENS: Final = 64
END_OF_TEXT: Final = 0
# (arguments of the service, prompt length, new tokens, most resident megabytes)
MEMORY: Final = (
    ("bfloat16, 64 + 64", ("--dtype", "bfloat16"), 64, 64, 1000),
    ("int8, 64 + 64", ("--quantize", "int8"), 64, 64, 800),
    ("bfloat16, full windows", ("--dtype", "bfloat16"), 992, 32, 1900),
)


@dataclass(frozen=True, slots=True)
class Stream:
    sent: float
    first: float
    last: float
    num_tokens: int

    @property
    def tokens_per_s(self) -> float:
        return (self.num_tokens - 1) / (self.last - self.first)


def measure(num_rounds: int = 3) -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        model = write_random_gpt2(Path(folder) / "model")
        return [*_speed(Path(folder), model, num_rounds), *_memory(Path(folder), model)]


def _speed(folder: Path, model: Path, num_rounds: int) -> list[Figure]:
    flags = ("--model", str(model), "--dtype", "bfloat16", "--speculation", "off", "--log-level", "warning")
    environment = {"GPT2SVC_MAX_NUM_SEQS": "128", "GPT2SVC_MAX_QUEUED_TOKENS": "1000000"}
    engine, http, fairness = [], [], []
    alone = PeerProcess("gpt2svc", model, "bfloat16", 32, os.cpu_count() or 1)
    with alone, Service(folder / "data", *flags, environment=environment) as service:
        service.wait_until_ready()
        asyncio.run(_run(service.port, 32, NUM_TOKENS, 8))
        alone.seconds(32, NUM_TOKENS, 8)
        for _ in range(num_rounds):
            engine.append(32 * NUM_TOKENS / alone.seconds(32, NUM_TOKENS, NUM_TOKENS))
            http.append(_throughput(asyncio.run(_run(service.port, 32, NUM_TOKENS, NUM_TOKENS))))
        for _ in range(num_rounds):
            speeds = [s.tokens_per_s for s in asyncio.run(_run(service.port, 128, NUM_TOKENS, NUM_TOKENS))]
            fairness.append(min(speeds) / statistics.median(speeds))
        service.terminate()
    ratios = tuple(over / within for over, within in zip(http, engine, strict=True))
    return [
        Figure("engine alone, 32 streams", "tok/s", tuple(engine), is_more_better=True),
        Figure("over HTTP, 32 streams", "tok/s", tuple(http), is_more_better=True),
        Figure("over HTTP / engine alone", "x", ratios, 0.9, is_more_better=True),
        Figure("128 streams: slowest / median", "x", tuple(fairness), 0.5, is_more_better=True),
    ]


def _memory(folder: Path, model: Path) -> list[Figure]:
    figures = []
    for i, (name, arguments, num_prompt, num_new, limit) in enumerate(MEMORY):
        flags = ("--model", str(model), *arguments, "--log-level", "warning")
        environment = {"GPT2SVC_MAX_NUM_SEQS": "32"}
        with Service(folder / f"memory {i}", *flags, environment=environment) as service:
            service.wait_until_ready()
            asyncio.run(_run(service.port, 32, num_prompt, num_new))
            figures.append(
                Figure(f"worker's memory, 32 streams, {name}", "MB", (_peak_mb(service.worker_pids()[0]),), limit)
            )
            service.terminate()
    return figures


async def _run(port: int, num_streams: int, num_prompt: int, num_new: int) -> list[Stream]:
    return await asyncio.gather(*(_stream(port, _prompt(num_prompt), num_new) for _ in range(num_streams)))


async def _stream(port: int, prompt: Sequence[int], num_new: int) -> Stream:
    body = json.dumps(
        {
            "prompt": prompt,
            "max_tokens": num_new,
            "temperature": 0,
            "logit_bias": {str(END_OF_TEXT): -100},
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ).encode()
    head = (
        f"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    sent = time.perf_counter()
    writer.write(head + body)
    received, first, last = b"", 0.0, 0.0
    while chunk := await reader.read(65536):
        last = time.perf_counter()
        first = first or (last if b"data: " in received + chunk else 0.0)
        received += chunk
    writer.close()
    if b"data: [DONE]" not in received or f'"completion_tokens":{num_new}' not in received.decode().replace(" ", ""):
        raise RuntimeError(f"no proper end:\n{received[-2000:].decode()}")
    return Stream(sent, first, last, num_new)


def _prompt(num_tokens: int) -> list[int]:
    return [random.randrange(1, VOCAB_SIZE) for _ in range(num_tokens)]


def _throughput(streams: Sequence[Stream]) -> float:
    seconds = max(stream.last for stream in streams) - min(stream.sent for stream in streams)
    return sum(stream.num_tokens for stream in streams) / seconds


def _peak_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError("the kernel does not tell the memory's peak")


def main() -> None:
    parser = argparse.ArgumentParser(description="GPT-2's full size over HTTP.")
    parser.add_argument("--rounds", type=int, default=3)
    print_table("GPT-2 124M over HTTP", measure(parser.parse_args().rounds))


if __name__ == "__main__":
    main()
