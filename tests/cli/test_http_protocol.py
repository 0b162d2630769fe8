"""The bound on a request's head, and that ordinary requests pass it, over real sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gpt2svc.app import create_app
from gpt2svc.cli.event_loop import loop_factory
from gpt2svc.cli.http_protocol import MAX_HEAD_BYTES
from gpt2svc.cli.serve import listen, make_server
from gpt2svc.config import Settings
from gpt2svc.models.tokenizer import Tokenizer
from tests.fakes.engine import ScriptedEngine, ScriptedPool
from tests.fakes.tokenizer import write_tokenizer_folder

HEAD = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n"
POST = b"POST /api/conversations HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[int]:
    async with _serving(tmp_path) as port:
        yield port


@asynccontextmanager
async def _serving(folder: Path) -> AsyncIterator[int]:
    engine = ScriptedEngine(Tokenizer.from_folder(write_tokenizer_folder(folder / "tokenizer")))
    settings = Settings(data_dir=folder / "data", port=0, drain_s=0)
    app = create_app(settings, engines=ScriptedPool(engine))
    is_up = asyncio.Event()
    server = make_server(app, settings, on_up=is_up.set)
    with listen(settings) as listener:
        async with app.router.lifespan_context(app):
            running = asyncio.create_task(server.serve(sockets=[listener]))
            await is_up.wait()
            yield listener.getsockname()[1]
            server.should_exit = True
            await running


async def ask(port: int, *pieces: bytes) -> bytes:
    """Everything that comes back until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        try:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)
        except ConnectionError:
            break
    try:
        return await reader.read()
    except ConnectionError:
        return b"reset"
    finally:
        writer.close()


CLOSE = b"Connection: close\r\n\r\n"


@pytest.mark.parametrize(
    "pieces",
    [
        [HEAD + b"x: " + b"y" * 20_000 + b"\r\n" + CLOSE],  # in one read, with its end
        [HEAD + b"x: ", *[b"y" * 4000] * 5],  # one header that does not end
        [HEAD, *[b"x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n" * 100] * 5],  # headers that do not end
        [b"GET /" + b"y" * 20_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n" + CLOSE],
        [HEAD + b"a:b\r\n" * 4000 + CLOSE],
        [POST + b"Content-Length: 2\r\n\r\n{}" + HEAD + b"x: ", *[b"y" * 4000] * 5],  # the second one
    ],
)
async def test_too_large_a_head_is_refused_and_its_connection_closed(port: int, pieces: list[bytes]) -> None:
    answer = await ask(port, *pieces)
    assert b"HTTP/1.1 400 " in answer or answer == b"reset"
    assert b'"status":"ok"' not in answer
    assert b"200 OK" in await ask(port, HEAD + CLOSE)  # the service is none the worse


async def test_heads_within_the_bound_and_bodies_beyond_it_are_read(port: int) -> None:
    almost = b"x: " + b"y" * (MAX_HEAD_BYTES - 200) + b"\r\n"
    assert b"200 OK" in await ask(port, HEAD + almost + CLOSE)
    body = b'{"title": "' + b" " * 50_000 + b'Hi"}'
    length = b"Content-Length: %d\r\n" % len(body)
    for pieces in ([POST + length + CLOSE + body], [POST + length + CLOSE, body[:30_000], body[30_000:]]):
        assert b"HTTP/1.1 422 " in await ask(port, *pieces)  # the title is too long: it was read
    small = POST + b"Content-Length: 2\r\n\r\n{}"
    answer = await ask(port, small * 20 + HEAD + CLOSE)  # together more than one head may have
    assert answer.count(b"HTTP/1.1 201 ") == 20
    assert answer.count(b"HTTP/1.1 200 ") == 1


async def test_what_is_not_http_gets_400(port: int) -> None:
    assert b"HTTP/1.1 400 " in await ask(port, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")


def test_the_service_works_on_the_loop_that_it_chooses(tmp_path: Path) -> None:
    async def livez() -> bytes:
        async with _serving(tmp_path) as port:
            return await ask(port, HEAD + CLOSE)

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        assert b"200 OK" in runner.run(livez())
