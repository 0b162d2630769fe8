"""The worker process itself: its main loop over a socket, and how it ends with its parent."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gpt2svc.worker.codec import decode, encode
from gpt2svc.worker.framing import FrameReader, frame
from gpt2svc.worker.messages import Abort, FromWorker, Outputs, Ready, Shutdown, Start, Submit, ToWorker
from gpt2svc.worker.options import WorkerOptions
from tests.worker.conftest import echo_command, is_alive
from tests.worker.messages import request


class Worker:
    """A worker process at the other end of a blocking socket."""

    def __init__(self, *arguments: str, command: tuple[str, ...] | None = None) -> None:
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(60)
        self._frames = FrameReader()
        self._received: list[FromWorker] = []
        with theirs:
            self.process = subprocess.Popen(
                [*(command or echo_command(*arguments)), "--fd", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )

    def send(self, *messages: ToWorker) -> None:
        self.socket.sendall(b"".join(frame(encode(message)) for message in messages))

    def receive(self) -> FromWorker:
        while not self._received:
            chunk = self.socket.recv(65536)
            if not chunk:
                raise EOFError
            self._received += [decode(payload) for payload in self._frames.feed(chunk)]
        return self._received.pop(0)

    def receive_until(self, is_wanted: Callable[[FromWorker], bool]) -> FromWorker:
        while not is_wanted(message := self.receive()):
            pass
        return message


@pytest.fixture
def start_worker(tmp_path: Path, model_folder: Path) -> Iterator[Callable[..., Worker]]:
    workers = []

    def start_worker(*arguments: str, command: tuple[str, ...] | None = None, is_ready: bool = True) -> Worker:
        worker = Worker(*arguments, command=command)
        workers.append(worker)
        options = WorkerOptions(str(model_folder), models_dir=str(tmp_path), allow_folder=True, log_level="warning")
        worker.send(Start(options))
        if is_ready:
            worker.receive_until(lambda message: isinstance(message, Ready))
        return worker

    yield start_worker
    for worker in workers:
        worker.process.kill()
        worker.process.communicate()
        worker.socket.close()


def test_shutdown_ends_it_with_code_0_and_without_a_word(start_worker) -> None:
    worker = start_worker()
    worker.send(Shutdown())
    assert worker.process.communicate(timeout=60) == ("", "")
    assert worker.process.returncode == 0


def test_shutdown_is_heard_between_two_steps(start_worker) -> None:
    worker = start_worker("--step-s", "0.002")
    worker.send(Submit(request(max_new_tokens=1_000_000)))
    worker.receive()
    worker.send(Shutdown())
    assert worker.process.wait(timeout=60) == 0


def test_messages_are_taken_while_it_generates(start_worker) -> None:
    worker = start_worker("--step-s", "0.002")
    worker.send(Submit(request("a", max_new_tokens=1_000_000)))
    worker.receive()
    worker.send(Submit(request("b")))
    worker.receive_until(lambda message: any(output.request_id == "b" for output in message.outputs))
    worker.send(Abort("a"), Abort("unknown"))
    ended = worker.receive_until(lambda message: any(output.finish_reason == "abort" for output in message.outputs))
    assert isinstance(ended, Outputs)
    assert ended.outputs[0].request_id == "a"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_to_the_whole_service_are_left_to_the_parent(start_worker, number: signal.Signals) -> None:
    worker = start_worker()
    worker.process.send_signal(number)
    worker.send(Submit(request(max_new_tokens=1)))
    assert worker.receive().outputs[0].finish_reason == "length"


def test_a_closed_socket_ends_it_when_idle(start_worker) -> None:
    worker = start_worker()
    worker.socket.close()
    assert worker.process.wait(timeout=60) == 0


@pytest.mark.parametrize("arguments", [("--fail", "hang"), ("--load-s", "3600")])
def test_a_closed_socket_ends_it_while_it_loads(start_worker, arguments: tuple[str, ...]) -> None:
    worker = start_worker(*arguments, is_ready=False)
    worker.receive()
    worker.socket.close()
    assert worker.process.wait(timeout=60) == 0


def test_a_closed_socket_ends_it_in_a_hung_step(start_worker) -> None:
    worker = start_worker()
    worker.send(Submit(request(owner="hang")))
    worker.receive()
    worker.socket.close()
    assert worker.process.wait(timeout=60) == 0


def test_a_step_that_raises_ends_it_with_code_1_and_a_traceback_in_the_log(start_worker) -> None:
    worker = start_worker()
    worker.send(Submit(request(owner="raise")))
    assert worker.process.wait(timeout=60) == 1
    assert "A step went wrong." in worker.process.communicate()[1]


def test_what_a_library_prints_does_not_reach_stdout(start_worker, tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import sys
        from gpt2svc.worker.process import main
        def load(options, report):
            print("printed by a library", flush=True)
            raise SystemExit(0)
        main(sys.argv[1:], load)
    """)
    worker = start_worker(command=(sys.executable, "-c", script), is_ready=False)
    assert worker.process.communicate(timeout=60) == ("", "printed by a library\n")


def test_kill_9_of_the_api_process_leaves_no_worker(tmp_path: Path, model_folder: Path) -> None:
    script = textwrap.dedent("""
        import asyncio, sys
        from pathlib import Path
        from gpt2svc.models.catalogue import ModelCatalogue
        from gpt2svc.worker.client import WorkerClient
        from gpt2svc.worker.options import WorkerOptions
        from tests.worker.conftest import echo_command, until
        from tests.worker.messages import request

        async def main():
            options = WorkerOptions(sys.argv[1], models_dir=sys.argv[2], allow_folder=True)
            client = WorkerClient(options, ModelCatalogue(Path(sys.argv[2])), command=echo_command("--step-s", "0.002"))
            client.start()
            async for _ in client.submit(request(max_new_tokens=1_000_000)):
                print(client.pid, flush=True)

        asyncio.run(main())
    """)
    api = subprocess.Popen(
        [sys.executable, "-c", script, str(model_folder), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert api.stdout is not None
    worker_pid = int(api.stdout.readline())
    assert is_alive(worker_pid)
    api.kill()
    api.communicate()
    deadline = time.monotonic() + 60
    while _is_running(worker_pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _is_running(worker_pid)


def _is_running(pid: int) -> bool:
    # Nobody may be there to reap an orphan in a container: a zombie has ended too.
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return is_alive(pid) and not os.path.isdir("/proc/self")
