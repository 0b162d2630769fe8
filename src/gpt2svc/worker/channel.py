"""The worker's end of the socket: blocking or polling reads, blocking writes. No asyncio."""

import os
import select
import socket
import threading

from gpt2svc.worker.codec import decode, encode
from gpt2svc.worker.framing import FrameReader, frame
from gpt2svc.worker.messages import FromWorker, Message

_CHUNK_BYTES = 1 << 18


class WorkerChannel:
    """Messages to and from the API process. Everything here raises ConnectionError once that process is gone."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._frames = FrameReader()

    def receive(self, *, is_blocking: bool) -> list[Message]:
        """All messages that have arrived; waits for at least a part of one where `is_blocking`."""
        flags = 0 if is_blocking else socket.MSG_DONTWAIT
        try:
            chunk = self._socket.recv(_CHUNK_BYTES, flags)
        except BlockingIOError:
            return []
        if not chunk:
            raise ConnectionResetError("The API process has closed the connection.")
        return [decode(payload) for payload in self._frames.feed(chunk)]

    def send(self, message: FromWorker) -> None:
        """Write a whole message; waits while the API process is behind by more than the socket's buffer."""
        self._socket.sendall(frame(encode(message)))

    def exit_when_closed(self) -> None:
        """From now on the process ends by itself as soon as the API process is gone, whatever it is doing.

        The main loop would notice too, but not in the middle of a download, of `import torch` or of a hung step.
        """
        threading.Thread(target=self._wait_and_exit, name="parent-watch", daemon=True).start()

    def _wait_and_exit(self) -> None:
        poll = select.poll()
        poll.register(self._socket, 0)  # POLLHUP is always reported, arriving messages are not
        poll.poll()
        os._exit(0)
