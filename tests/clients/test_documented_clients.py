"""docs/clients.md: each program in it is run as it stands there, against a real server."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from playwright.async_api import async_playwright

from gpt2svc.app import create_app
from gpt2svc.config import Settings
from gpt2svc.models.tokenizer import Tokenizer
from tests.clients.snippets import Snippet, snippets
from tests.fakes.engine import ScriptedEngine, ScriptedPool
from tests.fakes.running_app import running
from tests.fakes.tokenizer import write_tokenizer_folder
from tests.web.chromium import FLAGS, find_chromium

pytestmark = pytest.mark.slow

REPLY = "Hello there"
ALL = snippets()
PAGES = [snippet for snippet in ALL if snippet.language == "html"]
PROGRAMS = [snippet for snippet in ALL if snippet.language != "html"]


@pytest.fixture
def engine(tmp_path: Path) -> ScriptedEngine:
    engine = ScriptedEngine(Tokenizer.from_folder(write_tokenizer_folder(tmp_path / "tokenizer")), model="starter")
    engine.say(REPLY)
    return engine


@pytest.fixture
async def url(tmp_path: Path, engine: ScriptedEngine) -> AsyncIterator[str]:
    app: FastAPI = create_app(Settings(data_dir=tmp_path / "data"), engines=ScriptedPool(engine))
    async with running(app) as url:
        yield url


@pytest.fixture(scope="session")
def node_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which Node finds OpenAI's package."""
    if shutil.which("npm") is None:
        pytest.skip("The Node client was NOT tested: there is no npm.")
    folder = tmp_path_factory.mktemp("node")
    install = ["npm", "install", "--no-audit", "--no-fund", "--silent", "openai"]
    done = subprocess.run(install, cwd=folder, capture_output=True, timeout=100)
    if done.returncode:
        pytest.skip("The Node client was NOT tested: npm could not install openai.")
    return folder


def command(snippet: Snippet, url: str, folder: Path, request: pytest.FixtureRequest) -> list[str]:
    program = snippet.at(url)
    if snippet.language == "sh":
        return ["bash", "-euo", "pipefail", "-c", program]
    if snippet.language == "python":
        if "langchain" in program:
            pytest.importorskip("langchain_openai")
        return [sys.executable, "-c", program]
    file = request.getfixturevalue("node_folder") / "program.mjs"
    file.write_text(program, "utf-8")
    return ["node", str(file)]


def test_document_has_a_program_for_each_kind_of_client() -> None:
    assert {snippet.heading for snippet in ALL} >= {
        "curl",
        "Python: httpx",
        "Python: openai",
        "Python: LangChain",
        "Node: openai",
        "A page: EventSource",
    }


@pytest.mark.parametrize("snippet", PROGRAMS, ids=lambda snippet: snippet.name)
async def test_documented_program_prints_the_reply(
    snippet: Snippet, url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    process = await asyncio.create_subprocess_exec(
        *command(snippet, url, tmp_path, request),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "LANGSMITH_TRACING": "false"},
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    text = output.decode()
    if "event: token" in text:
        text = "".join(re.findall(r'^data: {"text":"(.*?)"', text, re.MULTILINE))
    assert REPLY in text


@pytest.mark.parametrize("snippet", PAGES, ids=lambda snippet: snippet.name)
async def test_documented_page_shows_the_reply(snippet: Snippet, url: str) -> None:
    path = find_chromium()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        page = await browser.new_page()
        failures: list[str] = []
        page.on("pageerror", lambda error: failures.append(str(error)))
        html = snippet.code
        await page.route("**/mine.html", lambda route: route.fulfill(body=html, content_type="text/html"))
        await page.goto(f"{url}/mine.html")
        await page.wait_for_selector("#reply[data-status=completed]", timeout=20_000)
        assert await page.inner_text("#reply") == REPLY
        assert failures == []
        await browser.close()
