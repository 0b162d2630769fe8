"""uvicorn's server with a shutdown that lets replies finish: uvicorn alone would wait for their streams for ever.

First signal: the service says so at /readyz and takes no more messages, while replies in progress get their time, go on
being streamed, and end with a terminal event each. Then the server closes. Second signal: out, at once; what is stored
is sound, as after a crash.
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any

import uvicorn


class GracefulServer(uvicorn.Server):
    """`on_up` is called when connections are taken; `drain` is awaited between the first signal and the closing."""

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        on_up: Callable[[], None],
        drain: Callable[[], Awaitable[None]],
        leave: Callable[[int], object] = os._exit,
    ) -> None:
        super().__init__(config)
        self._leave = leave
        self._on_up = on_up
        self._drain = drain
        self._loop: asyncio.AbstractEventLoop | None = None
        self._draining: asyncio.Task[None] | None = None
        self._num_signals = 0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self._on_up()

    def handle_exit(self, sig: int, frame: FrameType | None) -> Any:
        # NOTE: the base class would raise the signal again after closing, so that SIGTERM never exits with 0.
        self._num_signals += 1
        if self._num_signals > 1:
            self._leave(128 + sig)
        elif self._loop is None:
            self.should_exit = True
        else:
            self._loop.call_soon_threadsafe(self._begin_to_drain)

    def _begin_to_drain(self) -> None:
        self._draining = asyncio.ensure_future(self._drain_and_exit())

    async def _drain_and_exit(self) -> None:
        try:
            await self._drain()
        finally:
            self.should_exit = True
