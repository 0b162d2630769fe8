"""How soon the model's process is idle after nobody wants its work any more: `python bench/cancel.py [RUNS]`.

Idle is what the kernel says: the worker process has used no processor time. Looked at every 2 ms, from the moment at
which the client cancels, hangs up, or its deadline passes. Target: one decode step and 100 ms.
"""

import json
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.e2e.service import Service
from tests.e2e.starter import endless

from bench.figures import Figure, print_table
from bench.processes import cpu_seconds

NUM_RUNS = 10
QUIET_S = 0.06  # no processor time for so long means idle: longer than any step of the bundled model
BUSY_S = 0.0003  # what a process that only waits may use between two looks
DEADLINE_S = 0.4


def measure(num_runs: int = NUM_RUNS) -> list[Figure]:
    environment = {"GPT2SVC_MAX_NUM_SEQS": "4"}
    with tempfile.TemporaryDirectory() as folder, Service(Path(folder) / "data", environment=environment) as service:
        service.wait_until_ready()
        step_ms = _step_ms(service)
        cases: list[tuple[str, Callable[[Service], float]]] = [
            ("reply, streamed: cancel", _cancel_native),
            ("/v1, streamed: client leaves", lambda s: _leave(s, is_stream=True)),
            ("/v1, whole: client leaves", lambda s: _leave(s, is_stream=False)),
            ("/v1, whole: deadline", _deadline),
            ("/v1, waiting: client leaves, until its place is free", _leave_queue),
        ]
        figures = [Figure("decode step", "ms", (step_ms,))]
        for name, case in cases:
            runs = tuple(1000 * case(service) for _ in range(num_runs))
            figures.append(Figure(name, "ms", runs, target=step_ms + 100))
        service.terminate()
    return figures


def _step_ms(service: Service) -> float:
    """Between two tokens of one reply, by the service's own clock."""
    conversation = service.new_conversation()
    body = {"content": "Hi", "settings": endless(200)}
    reply = service.client.post(f"/api/conversations/{conversation}/messages", json=body).json()
    generation = service.client.get(f"/api/generations/{reply['generation_id']}").json()
    return 1000 / float(generation["timings"]["tokens_per_second"])


def _seconds_to_idle(pid: int, since: float) -> float:
    last_busy, used = since, cpu_seconds(pid)
    while time.perf_counter() - last_busy < QUIET_S:
        time.sleep(0.002)
        now = cpu_seconds(pid)
        if now - used > BUSY_S:
            last_busy = time.perf_counter()
        used = now
    return last_busy - since


def _cancel_native(service: Service) -> float:
    [worker] = service.worker_pids()
    body = {"content": "Hi", "stream": True, "settings": endless(800)}
    connection = _post(service, f"/api/conversations/{service.new_conversation()}/messages", body)
    received = _read_until(connection, b"event: token")
    generation_id = received.split(b'"generation_id":"', 1)[1].split(b'"', 1)[0].decode()
    time.sleep(0.1)
    since = time.perf_counter()
    cancelling = _post(service, f"/api/generations/{generation_id}/cancel", {})
    seconds = _seconds_to_idle(worker, since)
    _read_until(cancelling, b'"status":"cancelled"')
    for each in (connection, cancelling):
        each.close()
    return seconds


def _leave(service: Service, *, is_stream: bool) -> float:
    [worker] = service.worker_pids()
    before = cpu_seconds(worker)
    connection = _post(service, "/v1/completions", _endless_text(is_stream=is_stream))
    while cpu_seconds(worker) - before < 0.1:  # it is writing
        time.sleep(0.01)
    since = time.perf_counter()
    connection.close()
    return _seconds_to_idle(worker, since)


def _deadline(service: Service) -> float:
    [worker] = service.worker_pids()
    since = time.perf_counter() + DEADLINE_S
    connection = _post(service, "/v1/completions", _endless_text(is_stream=False), f"X-Request-Timeout: {DEADLINE_S}")
    _read_until(connection, b"HTTP/1.1 504")
    seconds = _seconds_to_idle(worker, since)
    connection.close()
    return seconds


def _leave_queue(service: Service) -> float:
    running = [_post(service, "/v1/completions", _endless_text(is_stream=True)) for _ in range(4)]
    for connection in running:
        _read_until(connection, b"data: ")
    waiting = _post(service, "/v1/completions", _endless_text(is_stream=False))
    while _num_places(service) < 5:
        time.sleep(0.005)
    since = time.perf_counter()
    waiting.close()
    while _num_places(service) > 4:
        pass
    seconds = time.perf_counter() - since
    for connection in running:
        connection.close()
    while _num_places(service) > 0:
        time.sleep(0.01)
    return seconds


def _num_places(service: Service) -> int:
    text = service.client.get("/metrics").text
    line = next(line for line in text.splitlines() if line.startswith("gpt2svc_admission_requests "))
    return round(float(line.split()[1]))


def _endless_text(*, is_stream: bool) -> dict[str, object]:
    settings = endless(900)
    del settings["max_new_tokens"]
    return {"prompt": "Once upon a time", "max_tokens": 900, "stream": is_stream, **settings}


def _post(service: Service, path: str, body: dict[str, object], *headers: str) -> socket.socket:
    content = json.dumps(body).encode()
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: 127.0.0.1:{service.port}",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
        *headers,
    ]
    connection = socket.create_connection(("127.0.0.1", service.port), timeout=30)
    connection.sendall("\r\n".join([*lines, "", ""]).encode() + content)
    return connection


def _read_until(connection: socket.socket, mark: bytes) -> bytes:
    received = b""
    while mark not in received:
        chunk = connection.recv(65536)
        if not chunk:
            raise RuntimeError(f"no {mark.decode()} in {received[:2000].decode()}")
        received += chunk
    return received


if __name__ == "__main__":
    print_table("From the cancel to an idle worker", measure(int(sys.argv[1]) if len(sys.argv) > 1 else NUM_RUNS))
