import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from fastapi import FastAPI

from gpt2svc.api.services import Services
from gpt2svc.app import create_app, services_of_app
from gpt2svc.config import Settings
from gpt2svc.models.tokenizer import Tokenizer
from tests.fakes.engine import ScriptedEngine, ScriptedPool
from tests.fakes.running_app import running
from tests.fakes.tokenizer import write_tokenizer_folder

BASE_URL = "http://127.0.0.1:8000"


@pytest.fixture
def engine(tmp_path: Path) -> ScriptedEngine:
    engine = ScriptedEngine(Tokenizer.from_folder(write_tokenizer_folder(tmp_path / "tokenizer")))
    engine.say("Hello there")
    return engine


@pytest.fixture
def pool(engine: ScriptedEngine) -> ScriptedPool:
    return ScriptedPool(engine)


@pytest.fixture
def make_app(tmp_path: Path, pool: ScriptedPool, empty_database: Path) -> Callable[..., FastAPI]:
    def make(**values: object) -> FastAPI:
        settings = Settings(data_dir=tmp_path / "data", model="tiny", **values)
        settings.data_dir.mkdir()
        shutil.copy(empty_database, settings.database_path)
        return create_app(settings, engines=pool)

    return make


@pytest.fixture
def app(make_app: Callable[..., FastAPI]) -> FastAPI:
    return make_app()


@pytest.fixture
def services(app: FastAPI) -> Services:
    return services_of_app(app)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Without a server in between: a streamed body arrives whole."""
    async with app.router.lifespan_context(app), client_of(app) as client:
        yield client


@pytest.fixture
async def live(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Through a real server: for streams, and for clients who leave."""
    async with running(app) as url, httpx.AsyncClient(base_url=url, timeout=20) as client:
        yield client


@pytest.fixture
async def sdk(app: FastAPI) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's own client, without its retries."""
    async with running(app) as url, sdk_of(url) as client:
        yield client


def sdk_of(url: str, **options: Any) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(
        **{"base_url": f"{url}/v1", "api_key": "none", "max_retries": 0, "timeout": 20, **options}
    )


def client_of(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url=BASE_URL)


async def new_conversation(client: httpx.AsyncClient, **fields: object) -> str:
    response = await client.post("/api/conversations", json=fields)
    assert response.status_code == 201, response.text
    return str(response.json()["id"])
