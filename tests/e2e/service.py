"""The real service in a process of its own, as a user starts it: `gpt2svc serve`."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

import httpx

START_TIMEOUT_S = 90.0  # two cores that other tests share


class Service:
    """`gpt2svc serve` on a free loopback port. Use it as a context manager: whatever happens, the process ends."""

    def __init__(self, data_dir: Path, *flags: str, environment: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_path = data_dir.parent / f"{data_dir.name}-{self.port}.log"
        arguments = ["serve", "--port", str(self.port), "--data-dir", str(data_dir), *flags]
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gpt2svc", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**clean_environment(), **(environment or {})},
                cwd=data_dir.parent,  # no .env or gpt2svc.toml of a developer's
            )
        self.client = httpx.Client(base_url=self.url, timeout=60.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    @property
    def log(self) -> str:
        return self.log_path.read_text("utf-8", "replace")

    def wait_until_ready(self) -> Self:
        self.wait_for("/readyz")
        return self

    def wait_for(self, path: str) -> None:
        """Until `path` answers 200."""

        def has_come() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(f"the service ended with code {self.process.returncode}:\n{self.log}")
            try:
                return self.client.get(path).status_code == 200
            except httpx.TransportError:
                return False

        wait_until(has_come, lambda: f"no 200 from {path}:\n{self.log}")

    def kill(self) -> None:
        """As the kernel does when memory is short: no warning, no clean-up."""
        self.process.kill()
        self.process.wait()

    def terminate(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    def worker_pids(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in children if b"worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    def new_conversation(self, **fields: object) -> str:
        response = self.client.post("/api/conversations", json=fields)
        assert response.status_code == 201, response.text
        return str(response.json()["id"])

    def messages(self, conversation_id: str) -> list[dict[str, object]]:
        response = self.client.get(f"/api/conversations/{conversation_id}/messages")
        assert response.status_code == 200, response.text
        return list(response.json()["data"])


def clean_environment() -> dict[str, str]:
    """Ours without settings of the service, and with compiled modules kept, as a user has them."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GPT2SVC_") and name != "PYTHONDONTWRITEBYTECODE"
    }


def wait_until(is_so: Callable[[], bool], explain: Callable[[], str], timeout_s: float = START_TIMEOUT_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_so():
        if time.monotonic() > deadline:
            raise AssertionError(explain())
        time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
