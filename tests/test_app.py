from pathlib import Path
from typing import Literal

import httpx
import pytest
from sse_starlette.sse import AppStatus

from gpt2svc.app import create_app, services_of_app
from gpt2svc.config import Settings
from gpt2svc.engine.sampling_params import SamplingParams
from gpt2svc.engine.types import EngineRequest
from gpt2svc.errors import StorageError
from gpt2svc.models.native.library import NativeLibrary
from gpt2svc.models.tokenizer import Tokenizer
from gpt2svc.worker.client import WorkerClient
from tests.fakes.engine import ScriptedEngine, ScriptedPool
from tests.fakes.tiny_folder import write_tiny_folder
from tests.fakes.tokenizer import write_tokenizer_folder


@pytest.fixture
def engine(tmp_path: Path) -> ScriptedEngine:
    return ScriptedEngine(Tokenizer.from_folder(write_tokenizer_folder(tmp_path / "tokenizer")))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", model="tiny", drain_s=0)


def test_making_an_app_touches_nothing(settings: Settings) -> None:
    create_app(settings)
    assert not settings.data_dir.exists()


async def test_lifespan_opens_and_closes_everything_and_can_be_entered_again(
    settings: Settings, engine: ScriptedEngine
) -> None:
    for _ in range(2):
        app = create_app(settings, engines=ScriptedPool(engine))
        services = services_of_app(app)
        async with app.router.lifespan_context(app):
            assert services.generations.is_accepting
            assert services.database.is_open
        assert not services.generations.is_accepting
        assert not services.database.is_open


async def test_app_starts_while_the_model_is_still_loading(settings: Settings, engine: ScriptedEngine) -> None:
    engine.set_status("downloading", has_tokenizer=False)
    app = create_app(settings, engines=ScriptedPool(engine))
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as c,
    ):
        assert (await c.get("/livez")).status_code == 200
        assert (await c.get("/readyz")).status_code == 503
        assert (await c.post("/api/conversations", json={})).status_code == 201


async def test_reply_in_progress_at_shutdown_is_stored_as_interrupted(
    settings: Settings, engine: ScriptedEngine
) -> None:
    engine.say("Hello there")
    engine.hold_at(4)
    app = create_app(settings, engines=ScriptedPool(engine))
    services = services_of_app(app)
    async with app.router.lifespan_context(app):
        conversation = await services.conversations.create("")
        turn = await services.turns.post(conversation.id, "", "Hi")
        await engine.wait_for_requests(1)
    again = create_app(settings, engines=ScriptedPool(engine))
    async with again.router.lifespan_context(again):
        message = await services_of_app(again).conversations.message(conversation.id, turn.message_id, "")
    assert message.status == "interrupted"
    assert "Hello there".startswith(message.content)


async def test_store_of_another_program_is_refused_and_left_as_it_was(
    settings: Settings, engine: ScriptedEngine
) -> None:
    settings.data_dir.mkdir()
    settings.database_path.write_bytes(b"something else" * 1000)
    app = create_app(settings, engines=ScriptedPool(engine))
    with pytest.raises(StorageError):
        async with app.router.lifespan_context(app):
            pytest.fail("the app started")
    assert settings.database_path.read_bytes() == b"something else" * 1000


async def test_streams_are_left_to_end_by_themselves_at_a_signal(settings: Settings, engine: ScriptedEngine) -> None:
    app = create_app(settings, engines=ScriptedPool(engine))
    async with app.router.lifespan_context(app):
        assert AppStatus.enable_automatic_graceful_drain is False


def mapped_files(pid: int | None) -> str:
    """Of a process; "" where the system does not tell."""
    maps = Path(f"/proc/{pid}/maps")
    return maps.read_text() if maps.exists() else ""


@pytest.mark.parametrize(("speculation", "kernels"), [("auto", "torch"), ("off", "auto")])
async def test_speculation_and_kernels_reach_the_worker_process(
    tmp_path: Path, speculation: Literal["auto", "off"], kernels: Literal["auto", "torch"]
) -> None:
    settings = Settings(
        data_dir=tmp_path / "data",
        model=str(write_tiny_folder(tmp_path / "tiny")),
        device="cpu",
        speculation=speculation,
        kernels=kernels,
        drain_s=0,
    )
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        client = services_of_app(app).engines.get()
        assert isinstance(client, WorkerClient)
        # Without weights the text is one token again and again: where it is guessed, a step brings several.
        params = SamplingParams(seed=0, temperature=0, repetition_penalty=1.0, max_new_tokens=40)
        outputs = [output async for output in client.submit(EngineRequest("a", (1, 2, 3), params))]
        assert sum(len(output.token_ids) for output in outputs) == 40
        assert (len(outputs) < 40) is (speculation == "auto")
        library, mapped = NativeLibrary.find(), mapped_files(client.pid)
        if library is not None and mapped:
            assert (library.file.name in mapped) is (kernels == "auto")
