import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn

from gpt2svc.app import create_app
from gpt2svc.cli.graceful_server import GracefulServer
from gpt2svc.cli.serve import listen, make_server, require_key_beyond_loopback
from gpt2svc.config import Settings
from gpt2svc.errors import ConfigError
from gpt2svc.models.tokenizer import Tokenizer
from tests.fakes.engine import ScriptedEngine, ScriptedPool
from tests.fakes.sse import SseEvent, read_sse, reply_text
from tests.fakes.tokenizer import write_tokenizer_folder


@pytest.fixture
def engine(tmp_path: Path) -> ScriptedEngine:
    engine = ScriptedEngine(Tokenizer.from_folder(write_tokenizer_folder(tmp_path / "tokenizer")))
    engine.say("Hello there")
    engine.hold_at(3)
    return engine


@asynccontextmanager
async def serving(
    settings: Settings, engine: ScriptedEngine
) -> AsyncIterator[tuple[GracefulServer, httpx.AsyncClient]]:
    """The server as `gpt2svc serve` runs it; it must have ended by itself when the block does."""
    app = create_app(settings, engines=ScriptedPool(engine))
    is_up = asyncio.Event()
    server = make_server(app, settings, on_up=is_up.set)
    with listen(settings) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with app.router.lifespan_context(app), httpx.AsyncClient(base_url=url, timeout=20) as client:
            running = asyncio.create_task(server.serve(sockets=[listener]))
            await is_up.wait()
            yield server, client
            await client.aclose()
            await running


async def watch_reply(client: httpx.AsyncClient, is_started: asyncio.Event) -> list[SseEvent]:
    conversation = (await client.post("/api/conversations", json={})).json()["id"]
    body = {"content": "Hi", "stream": True}
    events = []
    async with client.stream("POST", f"/api/conversations/{conversation}/messages", json=body) as response:
        async for event in read_sse(response):
            assert isinstance(event, SseEvent)
            events.append(event)
            is_started.set()
    return events


async def test_first_signal_lets_a_reply_finish_while_the_service_says_that_it_drains(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    settings = Settings(data_dir=tmp_path / "data", port=0, drain_s=60)
    async with serving(settings, engine) as (server, client):
        is_started = asyncio.Event()
        watching = asyncio.create_task(watch_reply(client, is_started))
        await is_started.wait()
        server.handle_exit(signal.SIGTERM, None)
        ready = await client.get("/readyz")
        while ready.status_code == 200:
            ready = await client.get("/readyz")
        assert ready.json()["status"] == "draining"
        engine.release()
        events = await watching
        assert (events[-1].name, events[-1].data["status"]) == ("done", "completed")
        assert reply_text(events) == "Hello there"


async def test_reply_that_outlasts_the_drain_ends_as_interrupted_and_its_viewer_hears_of_it(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    settings = Settings(data_dir=tmp_path / "data", port=0, drain_s=0)
    async with serving(settings, engine) as (server, client):
        is_started = asyncio.Event()
        watching = asyncio.create_task(watch_reply(client, is_started))
        await is_started.wait()
        server.handle_exit(signal.SIGINT, None)
        events = await watching
        assert (events[-1].name, events[-1].data["status"]) == ("error", "interrupted")
        assert events[-1].data["num_tokens"] == sum(event.name == "token" for event in events)


async def test_second_signal_leaves_at_once(tmp_path: Path, engine: ScriptedEngine) -> None:
    codes: list[int] = []

    async def drain() -> None:
        await asyncio.Event().wait()

    config = uvicorn.Config(lambda *_: None, lifespan="off")
    server = GracefulServer(config, on_up=lambda: None, drain=drain, leave=codes.append)
    server.handle_exit(signal.SIGTERM, None)
    assert codes == []
    server.handle_exit(signal.SIGTERM, None)
    assert codes == [128 + signal.SIGTERM]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.org"])
def test_beyond_loopback_a_key_is_needed(host: str) -> None:
    with pytest.raises(ConfigError, match="GPT2SVC_API_KEY"):
        require_key_beyond_loopback(Settings(host=host))
    require_key_beyond_loopback(Settings(host=host, api_key="a-key-of-some-length"))
    require_key_beyond_loopback(Settings(host="127.0.0.1"))


def test_port_in_use_is_named_with_a_way_out() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"Port {port} on 127\.0\.0\.1 is in use.*--port"):
            listen(Settings(port=port))


def test_foreign_address_is_named() -> None:
    with pytest.raises(ConfigError, match=r"192\.0\.2\.7"):
        listen(Settings(host="192.0.2.7", port=0))
