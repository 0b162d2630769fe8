"""SIGTERM at any moment: exit code 0, no message lost, every stream ended in a way that it says.

SIGTERM_ROUNDS sets how many moments are tried; 50 take some five minutes.
"""

import json
import os
import random
import signal
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.service import Service
from tests.e2e.sse import parse_events, text_of
from tests.e2e.starter import endless

NUM_ROUNDS = int(os.environ.get("SIGTERM_ROUNDS", "3"))
ENDINGS = {("done", "completed"), ("error", "interrupted")}


class Client:
    """Writes, one message after another, until the service is gone; notes what it was promised."""

    def __init__(self, service: Service, kind: str, seed: int) -> None:
        self.kind = kind
        self.accepted: dict[str, str] = {}  # the reply's id: its text, as far as it was sent
        self.problems: list[str] = []
        self._service = service
        self._settings = endless(random.Random(seed).choice([5, 40, 300]))
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        self._thread.join(timeout=60)
        if self._thread.is_alive():
            self.problems.append(f"{self.kind}: still waiting")

    def _run(self) -> None:
        with httpx.Client(base_url=self._service.url, timeout=60) as client:
            while self._service.process.poll() is None:
                try:
                    {"stream": self._stream, "whole": self._whole, "text": self._text}[self.kind](client)
                except (httpx.ConnectError, httpx.ReadError):
                    time.sleep(0.02)  # not up yet, or closed: nothing was promised
                except httpx.RemoteProtocolError as error:
                    # A kept connection that is closed as a request goes out; or a stream cut without its end.
                    if "incomplete" in str(error):
                        self.problems.append(f"{self.kind}: {error}")

    def _stream(self, client: httpx.Client) -> None:
        path = f"/api/conversations/{_conversation(client)}/messages"
        body = {"content": "Привіт!", "settings": self._settings, "stream": True}
        with client.stream("POST", path, json=body) as response:
            if response.status_code != 200:
                self._refused(response.status_code)
                return
            received = b""
            for chunk in response.iter_raw():
                received += chunk
        events = parse_events(received)
        self.accepted[str(events[0].data["message_id"])] = text_of(events)
        ending = (events[-1].name, str(events[-1].data["status"]))
        if ending not in ENDINGS:
            self.problems.append(f"a stream that ended as {ending}")

    def _whole(self, client: httpx.Client) -> None:
        path = f"/api/conversations/{_conversation(client)}/messages"
        response = client.post(path, json={"content": "Привіт!", "settings": self._settings})
        if response.status_code != 201:
            self._refused(response.status_code)
            return
        reply = response.json()
        self.accepted[reply["id"]] = reply["content"]
        if reply["status"] not in ("completed", "interrupted"):
            self.problems.append(f"a reply that is {reply['status']}")

    def _text(self, client: httpx.Client) -> None:
        body = {"prompt": "Hi", "max_tokens": 40, "stream": True}
        with client.stream("POST", "/v1/completions", json=body) as response:
            if response.status_code != 200:
                self._refused(response.status_code)
                return
            last = b"".join(response.iter_raw()).rstrip(b"\n").rsplit(b"\n", 1)[-1]
        if last != b"data: [DONE]" and "error" not in json.loads(last.removeprefix(b"data: ")):
            self.problems.append(f"a text that ended with {last!r}")

    def _refused(self, status: int) -> None:
        if status != 503:
            self.problems.append(f"{self.kind}: {status}")


def _conversation(client: httpx.Client) -> str:
    response = client.post("/api/conversations", json={})
    if response.status_code != 201:
        raise httpx.ConnectError(f"{response.status_code}")
    return str(response.json()["id"])


def _rows(path: Path, statement: str) -> list[tuple[Any, ...]]:
    if not path.exists():
        return []  # the signal came before there was a database
    with sqlite3.connect(path) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        return connection.execute(statement).fetchall() if "messages" in tables else []


@pytest.mark.timeout(60 + 30 * NUM_ROUNDS)
@pytest.mark.parametrize("is_up", [True, False], ids=["while it works", "while it starts"])
def test_sigterm_at_any_moment_loses_nothing_and_exits_with_0(tmp_path: Path, is_up: bool) -> None:
    for number in range(NUM_ROUNDS if is_up else (NUM_ROUNDS + 1) // 2):
        moment = random.Random(number)
        folder = tmp_path / f"{number}"
        folder.mkdir()
        environment = {"GPT2SVC_DRAIN_S": moment.choice(["0", "0.3", "5"])}
        with Service(folder / "data", environment=environment) as service:
            clients = [Client(service, kind, number) for kind in ("stream", "stream", "whole", "text")]
            if is_up:
                service.wait_until_ready()
            for client in clients:
                client.start()
            time.sleep(moment.uniform(0.0, 1.5) if is_up else moment.uniform(0.15, 3.0))
            service.process.send_signal(signal.SIGTERM)
            code = service.process.wait(timeout=60)
            # Python itself dies of the signal until the program has run its first lines, and has nothing yet.
            is_too_early = code == -signal.SIGTERM and not is_up and not (folder / "data").exists()
            assert code == 0 or is_too_early, (number, code, service.log)
            for client in clients:
                client.join()
            assert [problem for client in clients for problem in client.problems] == [], service.log
            assert "Traceback" not in service.log, service.log
            database = folder / "data" / "gpt2svc.db"
            stored = dict(_rows(database, "SELECT id, content FROM messages"))
            for client in clients:
                for message_id, text in client.accepted.items():
                    assert stored.get(message_id) == text, (number, client.kind)
            assert _rows(database, "SELECT id FROM messages WHERE status IN ('queued', 'generating')") == []
