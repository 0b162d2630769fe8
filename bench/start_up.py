"""How soon the program answers: `gpt2svc --help`, /livez and /readyz with the bundled model, from a warm file cache."""

import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.e2e.service import Service, clean_environment

from bench.figures import Figure, print_table

NUM_RUNS = 7


def measure() -> list[Figure]:
    _help_s()  # fills the page cache
    helps = tuple(_help_s() for _ in range(NUM_RUNS))
    _start_s()
    starts = [_start_s() for _ in range(NUM_RUNS)]
    return [
        Figure("gpt2svc --help", "s", helps, target=0.3),
        Figure("start to /livez", "s", tuple(live for live, _ in starts), target=1.5),
        Figure("start to /readyz", "s", tuple(ready for _, ready in starts), target=5.0),
    ]


def _help_s() -> float:
    started = time.perf_counter()
    command = Path(sys.executable).with_name("gpt2svc")
    subprocess.run([command, "--help"], check=True, stdout=subprocess.DEVNULL, env=clean_environment())
    return time.perf_counter() - started


def _start_s() -> tuple[float, float]:
    """Seconds from starting the process to the first 200 of /livez and of /readyz, on a new data folder."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        with Service(Path(folder) / "data") as service:
            times = []
            for path in ("/livez", "/readyz"):
                while not _is_200(service.port, path):
                    if service.process.poll() is not None or time.perf_counter() - started > 120:
                        raise RuntimeError(f"no 200 from {path}:\n{service.log}")
                    time.sleep(0.01)
                times.append(time.perf_counter() - started)
            service.terminate()
            return times[0], times[1]


def _is_200(port: int, path: str) -> bool:
    """A bare request: an HTTP library would take processor time from the service that is being timed."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
            return connection.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


if __name__ == "__main__":
    print_table("Start-up", measure())
