"""One run of a worker process: the process, and the API's end of the socket between them."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable, Sequence
from typing import Self, cast

from gpt2svc.errors import EngineError
from gpt2svc.worker.codec import decode, encode
from gpt2svc.worker.framing import FrameReader, frame
from gpt2svc.worker.messages import FromWorker, Shutdown, ToWorker

logger = logging.getLogger(__name__)


class WorkerConnection(asyncio.Protocol):
    """Messages go to `on_message` as they arrive, on the event loop; `send` never blocks.

    Whoever opens it must `stop` it: that leaves no process, socket or task behind.
    """

    def __init__(self, on_message: Callable[[FromWorker], None]) -> None:
        self._on_message = on_message
        self._frames = FrameReader()
        self._closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None
        self._process: asyncio.subprocess.Process | None = None

    @classmethod
    async def open(cls, command: Sequence[str], on_message: Callable[[FromWorker], None]) -> Self:
        """Start `command --fd N`, where N is the worker's end of the socket. Raises OSError where that is refused."""
        ours, theirs = socket.socketpair()
        # NOTE: our copy of the worker's end must be closed, or the worker's death would not end the stream.
        with theirs:
            try:
                transport, connection = await asyncio.get_running_loop().create_unix_connection(
                    lambda: cls(on_message), sock=ours
                )
            except BaseException:
                ours.close()
                raise
            try:
                connection._process = await asyncio.create_subprocess_exec(
                    *command,
                    "--fd",
                    str(theirs.fileno()),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                )
            except BaseException:
                transport.abort()
                raise
        return connection

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    @property
    def exit_reason(self) -> str:
        """How the process ended, for people; "is running" before that."""
        code = self._process.returncode if self._process is not None else None
        if code is None:
            return "is running"
        if code >= 0:
            return f"exited with code {code}"
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        hint = "; the system may be out of memory" if name == "SIGKILL" else ""
        return f"was killed by {name}{hint}"

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def send(self, message: ToWorker) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame(encode(message)))

    async def wait_closed(self, timeout_s: float | None = None) -> bool:
        """Until the worker's end is closed: it has exited or crashed. False when `timeout_s` passed before that."""
        await asyncio.wait({self._closed}, timeout=timeout_s)
        return self._closed.done()

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    async def stop(self, *, is_listening: bool, grace_s: float) -> None:
        """End the process and return when it is gone; for whatever it does, SIGKILL follows after `grace_s`.

        One that is listening is asked to exit. One that still loads is not, and gets SIGTERM.
        """
        if self._process is None:
            return
        try:
            if is_listening:
                self.send(Shutdown())
            else:
                self._signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), grace_s)
        finally:  # also when cancelled in mid-wait: the process must not outlive us
            self.kill()
            await self._process.wait()
            if self._transport is not None:
                self._transport.abort()

    def _signal(self, number: signal.Signals) -> None:
        # NOTE: not Process.kill(): it looks for the exit status itself first, and where it finds one, asyncio's own
        # watcher comes too late and reports 255.
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            for payload in self._frames.feed(data):
                self._on_message(cast(FromWorker, decode(payload)))
        except EngineError:
            # Our own worker can't write this: its memory is not to be trusted any more.
            logger.exception("The worker process %s sent a broken frame and is killed", self.pid)
            self.kill()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._closed.done():
            self._closed.set_result(None)
