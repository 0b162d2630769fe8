"""What streaming costs over HTTP: tokens a second, time to the first token and between tokens, for 1, 8, 32 streams."""

import asyncio
import json
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.service import Service
from tests.e2e.starter import endless

from bench.figures import Figure, print_table

NUM_STREAMS = (1, 8, 32)
NUM_TOKENS = 128
NUM_RUNS = 5
PROMPT = "Hello! I would like to talk about the weather, and then about a good place to eat in the old town."


@dataclass(slots=True)
class StreamTimes:
    """`time.perf_counter()` when the request was sent and at each token event that arrived."""

    sent: float
    tokens: list[float] = field(default_factory=list)


def measure() -> list[Figure]:
    figures = []
    flags = ("--log-level", "warning")
    # As many streams as are measured run at once: this measures decoding, not waiting.
    environment = {"GPT2SVC_MAX_NUM_SEQS": str(max(NUM_STREAMS))}
    with tempfile.TemporaryDirectory() as folder, Service(Path(folder) / "data", *flags, environment=environment) as s:
        s.wait_until_ready()
        asyncio.run(_run_streams(s, 1))
        for num_streams in NUM_STREAMS:
            runs = [asyncio.run(_run_streams(s, num_streams)) for _ in range(NUM_RUNS)]
            plural = "stream" if num_streams == 1 else "streams"
            of = f"{num_streams} {plural}"
            figures += [
                Figure(f"{of}: tokens", "tok/s", tuple(map(_tokens_per_s, runs)), is_more_better=True),
                Figure(f"{of}: to the first token, median", "ms", tuple(_ttft_ms(run, 50) for run in runs)),
                Figure(f"{of}: to the first token, slowest", "ms", tuple(_ttft_ms(run, 100) for run in runs)),
                Figure(f"{of}: between tokens, median", "ms", tuple(_gap_ms(run, 50) for run in runs)),
                Figure(f"{of}: between tokens, 99 %", "ms", tuple(_gap_ms(run, 99) for run in runs)),
            ]
        s.terminate()
    return figures


async def _run_streams(service: Service, num_streams: int) -> list[StreamTimes]:
    conversations = [service.new_conversation() for _ in range(num_streams)]
    return await asyncio.gather(*(_stream(service.port, conversation) for conversation in conversations))


async def _stream(port: int, conversation_id: str) -> StreamTimes:
    """One reply, read with as little work as can be: the client shares the processor with the service."""
    body = json.dumps({"content": PROMPT, "settings": endless(NUM_TOKENS), "stream": True}).encode()
    head = (
        f"POST /api/conversations/{conversation_id}/messages HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    times = StreamTimes(time.perf_counter())
    writer.write(head + body)
    received = b""
    while chunk := await reader.read(65536):
        now = time.perf_counter()
        received += chunk
        times.tokens += [now] * (received.count(b"event: token\n") - len(times.tokens))
    writer.close()
    # White space at a reply's end is not part of it, so that a few tokens may have no event.
    if b"event: done\n" not in received or len(times.tokens) < NUM_TOKENS - 8:
        raise RuntimeError(f"{len(times.tokens)} tokens and no proper end:\n{received[:2000].decode()}")
    return times


def _tokens_per_s(run: list[StreamTimes]) -> float:
    seconds = max(stream.tokens[-1] for stream in run) - min(stream.sent for stream in run)
    return sum(len(stream.tokens) for stream in run) / seconds


def _ttft_ms(run: list[StreamTimes], percent: int) -> float:
    return _percentile([1000 * (stream.tokens[0] - stream.sent) for stream in run], percent)


def _gap_ms(run: list[StreamTimes], percent: int) -> float:
    gaps = [
        1000 * (after - before)
        for stream in run
        for before, after in zip(stream.tokens, stream.tokens[1:], strict=False)
    ]
    return _percentile(gaps, percent)


def _percentile(values: list[float], percent: int) -> float:
    if percent == 50:
        return statistics.median(values)
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


if __name__ == "__main__":
    print_table("Streams over HTTP", measure())
