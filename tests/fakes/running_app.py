"""An app behind a real server on a free loopback port, in the test's own event loop."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI


class _Server(uvicorn.Server):
    """Without signal handlers: the test process keeps its own."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()

    async def run_here(self) -> None:
        await self._serve()


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[str]:
    """Yields the base URL. The app's lifespan is entered here as `gpt2svc serve` does it."""
    config = uvicorn.Config(
        app,
        port=0,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=2,
    )
    server = _Server(config)
    async with app.router.lifespan_context(app):
        serving = asyncio.create_task(server.run_here())
        await server.is_up.wait()
        port = server.servers[0].sockets[0].getsockname()[1]
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            await serving
