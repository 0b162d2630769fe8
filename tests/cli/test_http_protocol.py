"""The bound on a request's head, the gate at its end, and that ordinary requests pass both, over real sockets."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from fastapi import FastAPI

from gpt2svc.api.key_ring import MAX_AGE_S
from gpt2svc.app import create_app, services_of_app
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
    async with _serving(tmp_path) as (port, _):
        yield port


@asynccontextmanager
async def _serving(folder: Path) -> AsyncIterator[tuple[int, FastAPI]]:
    engine = ScriptedEngine(Tokenizer.from_folder(write_tokenizer_folder(folder / "tokenizer")))
    settings = Settings(data_dir=folder / "data", port=0, drain_s=0, max_num_seqs=1, max_queued_requests=0)
    app = create_app(settings, engines=ScriptedPool(engine))
    is_up = asyncio.Event()
    server = make_server(app, settings, on_up=is_up.set)
    with listen(settings) as listener:
        async with app.router.lifespan_context(app):
            running = asyncio.create_task(server.serve(sockets=[listener]))
            await is_up.wait()
            yield listener.getsockname()[1], app
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
        async with _serving(tmp_path) as (port, _):
            return await ask(port, HEAD + CLOSE)

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        assert b"200 OK" in runner.run(livez())


def completion(body: bytes, *lines: bytes, length: int | None = None) -> bytes:
    head = [
        b"POST /v1/completions?a=b HTTP/1.1",
        b"Host: 127.0.0.1",
        b"Content-Type: application/json",
        b"Content-Length: %d" % (len(body) if length is None else length),
        *lines,
    ]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


LEAVE = b"Connection: close"


@pytest.fixture
async def full(tmp_path: Path) -> AsyncIterator[int]:
    """The port of a service without a place, which knows that nobody needs a key. Its app is asked nothing more."""
    async with _serving(tmp_path) as (port, app):
        await ask(port, b"GET /api/health HTTP/1.1\r\nHost: 127.0.0.1\r\n" + CLOSE)
        services_of_app(app).admission.reserve(1)
        yield port


async def test_a_full_service_answers_at_the_end_of_the_head(full: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", full)
    writer.write(completion(b"", length=1000))
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
    assert b"\r\ndate: " in head
    assert b"connection" not in head
    assert b'"code": "overloaded"' in await reader.readuntil(b"}}")
    # The body may still come, in pieces; nothing of it is taken for the next request, which is answered as ever.
    for piece in ((HEAD + b"\r\n").ljust(500), b"y" * 500):
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.01)
    writer.write(HEAD + CLOSE)
    rest = await reader.read()
    assert rest.startswith(b"HTTP/1.1 200 OK\r\n")
    assert rest.count(b"HTTP/1.1 ") == 1
    writer.close()


async def test_the_gate_needs_nothing_that_the_app_needs(tmp_path: Path) -> None:
    async with _serving(tmp_path) as (port, app):
        await ask(port, b"GET /api/health HTTP/1.1\r\nHost: 127.0.0.1\r\n" + CLOSE)
        services = services_of_app(app)
        permit = services.admission.reserve(1)
        await services.database.close()
        await asyncio.sleep(MAX_AGE_S + 0.05)  # the keys that were read are old
        assert b"HTTP/1.1 429 " in await ask(port, completion(b"{}", LEAVE))
        permit.release()
        assert b"HTTP/1.1 503 " in await ask(port, completion(b"{}", LEAVE))
        await services.database.open()


async def test_answers_of_the_gate_and_of_the_app_come_in_the_order_of_their_requests(full: int) -> None:
    refused, livez = completion(b"{}"), HEAD + b"\r\n"
    answer = await ask(full, refused + livez + refused + refused + livez + completion(b"{}", LEAVE))
    statuses = re.findall(rb"HTTP/1\.1 (\d+) ", answer)
    # One that has to wait for the answer before it is asked of the app, which refuses it too.
    assert statuses == [b"429", b"200", b"429", b"429", b"200", b"429"]


async def test_a_refused_connection_is_closed_when_that_was_asked_for(full: int) -> None:
    answer = await ask(full, completion(b"{}", LEAVE))
    assert b"HTTP/1.1 429 " in answer
    assert b"\r\nconnection: close\r\n" in answer
    old = completion(b"{}").replace(b"HTTP/1.1", b"HTTP/1.0")
    assert b"\r\nconnection: close\r\n" in await ask(full, old)


async def test_a_head_beyond_the_bound_is_no_ones_to_refuse(full: int) -> None:
    answer = await ask(full, completion(b"{}", b"x: " + b"y" * 20_000, LEAVE))
    assert b"HTTP/1.1 400 " in answer or answer == b"reset"
    many = completion(b"{}", b"x: " + b"y" * 10_000) * 3 + completion(b"{}", LEAVE)
    assert (await ask(full, many)).count(b"HTTP/1.1 429 ") == 4


async def test_a_body_without_an_end_is_not_kept(full: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", full)
    writer.write(completion(b"", b"Transfer-Encoding: chunked").replace(b"Content-Length: 0\r\n", b""))
    assert (await reader.readuntil(b"}}")).startswith(b"HTTP/1.1 429 ")
    for _ in range(50):
        writer.write(b"10000\r\n" + b"z" * 0x10000 + b"\r\n")
        await writer.drain()  # the service goes on reading, and forgets
    writer.write(b"0\r\n\r\n" + HEAD + CLOSE)
    assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
    writer.close()
