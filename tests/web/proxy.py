"""A TCP proxy between browser and service that cuts connections, or lets none in, when a test says so."""

import asyncio
import contextlib


class CuttingProxy:
    """`cut()` breaks every connection; while `is_down` is set, new ones are closed at once.

    `cut_after` breaks each connection once so many bytes have come back over it.
    """

    def __init__(self) -> None:
        self.target_port = 0
        self.is_down = False
        self.cut_after: int | None = None
        self.num_cuts = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await self._server.wait_closed()

    def cut(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_down:
            writer.transport.abort()
            return
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, up_writer}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pipe(reader, up_writer, None))
                group.create_task(self._pipe(up_reader, writer, self.cut_after))
        finally:
            for each in (writer, up_writer):
                each.transport.abort()
                self._writers.discard(each)

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int | None) -> None:
        num_bytes = 0
        with contextlib.suppress(OSError):
            while chunk := await reader.read(4096):
                if limit is not None and num_bytes + len(chunk) > limit:
                    writer.write(chunk[: limit - num_bytes])
                    self.num_cuts += 1
                    break
                num_bytes += len(chunk)
                writer.write(chunk)
                await writer.drain()
        writer.close()
