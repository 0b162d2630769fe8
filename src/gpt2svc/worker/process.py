"""The worker process: `python -m gpt2svc.worker.process --fd N`, where N is an inherited Unix socket.

startup → main_loop → shutdown, in one thread. It ends when it is asked to, when the API process is gone, or with an
error that its supervisor sees as a crash.
"""

import argparse
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from gpt2svc.engine.types import EngineRequest, EngineStats, ModelInfo, TokenOutput
from gpt2svc.errors import Gpt2svcError, InvalidInputError
from gpt2svc.logs import configure_logging
from gpt2svc.worker.channel import WorkerChannel
from gpt2svc.worker.cpu import apply_cpu_options
from gpt2svc.worker.loading import load_model
from gpt2svc.worker.messages import Abort, Failed, FromWorker, Outputs, Ready, Shutdown, Start, Submit
from gpt2svc.worker.options import WorkerOptions

logger = logging.getLogger(__name__)

EXIT_OK = 0
EXIT_CRASHED = 1
EXIT_NOT_LOADED = 3


class Engine(Protocol):
    """What the main loop needs of an EngineCore."""

    @property
    def has_work(self) -> bool: ...
    @property
    def stats(self) -> EngineStats: ...
    def add_request(self, request: EngineRequest) -> None: ...
    def abort(self, request_id: str) -> None: ...
    def step(self) -> list[TokenOutput]: ...
    def check_integrity(self) -> None: ...


Load = Callable[[WorkerOptions, Callable[[FromWorker], None]], tuple[Engine, ModelInfo]]


class WorkerProcess:
    """One engine behind a channel."""

    def __init__(self, channel: WorkerChannel, load: Load) -> None:
        self._channel = channel
        self._load = load

    def run(self) -> int:
        """The process's exit code."""
        try:
            engine = self.startup()
            if engine is None:
                return EXIT_NOT_LOADED
            self.main_loop(engine)
        except ConnectionError:
            logger.info("The API process is gone")
        except Exception:
            logger.exception("The worker process ends with an error")
            return EXIT_CRASHED
        return EXIT_OK

    def startup(self) -> Engine | None:
        """Load the model; None when that failed, which the API process has then been told."""
        options = self._first_message().options
        configure_logging(options.log_level, options.log_format)
        # NOTE: collecting while torch is imported finds nothing and takes 0.3 s of two. What is alive afterwards stays
        # alive, so it is frozen: else a full collection (0.2 s) would walk through all of torch in mid-stream.
        gc.disable()
        try:
            apply_cpu_options(options, os.environ)
            engine, info = self._load(options, self._channel.send)
        except Gpt2svcError as error:
            self._channel.send(Failed(error.code, error.message))
            return None
        except ConnectionError:
            raise
        except Exception as error:
            logger.exception("Loading the model failed")
            self._channel.send(Failed(Gpt2svcError.code, f"{type(error).__name__}: {error}"))
            return None
        gc.freeze()
        gc.enable()
        # NOTE: systemd sends SIGTERM to all processes of a service at once; replies in progress then still have the
        # API process's drain time, at whose end it says Shutdown.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self._channel.send(Ready(info, engine.stats))
        return engine

    def main_loop(self, engine: Engine) -> None:
        """Until Shutdown arrives. While there is work, messages are only glanced at between two steps."""
        while True:
            if not engine.has_work:
                engine.check_integrity()
            refused = []
            for message in self._channel.receive(is_blocking=not engine.has_work):
                match message:
                    case Submit(request):
                        try:
                            engine.add_request(request)
                        except InvalidInputError as error:
                            refused.append(TokenOutput(request.request_id, finish_reason="error", error=error.message))
                    case Abort(request_id):
                        engine.abort(request_id)
                    case Shutdown():
                        return
            if engine.has_work or refused:
                outputs = engine.step() if engine.has_work else []
                self._send((*refused, *outputs), engine.stats)

    def _send(self, outputs: tuple[TokenOutput, ...], stats: EngineStats) -> None:
        """One frame, and one more for each distribution or vector: a step's worth could be over a frame's limit."""
        small = []
        for output in outputs:
            if output.next_token is not None or output.pooled is not None:
                self._channel.send(Outputs((output,), stats))
            else:
                small.append(output)
        self._channel.send(Outputs(tuple(small), stats))

    def _first_message(self) -> Start:
        while True:
            for message in self._channel.receive(is_blocking=True):
                if isinstance(message, Start):
                    return message
                raise ConnectionAbortedError(f"The first message must be Start, not {type(message).__name__}.")


def main(arguments: Sequence[str] | None = None, load: Load = load_model) -> int:
    """Entry of the process; `load` is replaced where a test brings an engine of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the API process, which then asks us to stop
    parser = argparse.ArgumentParser(description="Worker process of gpt2svc; started by the service, not by hand.")
    parser.add_argument("--fd", type=int, required=True, help="inherited Unix stream socket")
    sock = socket.socket(fileno=parser.parse_args(arguments).fd)
    sock.set_inheritable(False)
    with suppress(OSError):
        os.dup2(2, 1)  # a library that prints must not end up in the output of `gpt2svc generate`
    channel = WorkerChannel(sock)
    channel.exit_when_closed()
    return WorkerProcess(channel, load).run()


def leave(code: int) -> None:
    """End the process now. Taking torch apart first takes a second, in which nobody is told that it has ended."""
    logging.shutdown()
    with suppress(OSError):
        sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    leave(main())
