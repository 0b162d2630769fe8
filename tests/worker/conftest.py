"""Real worker processes around an engine that echoes, and a tiny model folder for their text side."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gpt2svc.models.catalogue import ModelCatalogue
from gpt2svc.worker.client import WorkerClient
from gpt2svc.worker.options import WorkerOptions
from gpt2svc.worker.policy import RestartPolicy
from tests.fakes.tiny_folder import write_tiny_folder

# Restarts at once and takes nothing for hung: each test that needs other times says so.
QUICK = RestartPolicy(backoff_s=0.01, max_backoff_s=0.05, retry_s=0.1, min_retry_s=0.0, stop_grace_s=5.0)


def echo_command(*options: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "tests.fakes.worker_process", *options)


@pytest.fixture(autouse=True)
def _tests_are_importable_in_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(Path(__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])]))


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_folder(tmp_path_factory.mktemp("model"))


@pytest.fixture
def open_client(model_folder: Path, tmp_path: Path):
    """`async with open_client("--step-s", "0.01", policy=…) as client`: started, and closed at the end."""

    @asynccontextmanager
    async def open_client(
        *arguments: str, policy: RestartPolicy = QUICK, model: str | None = None, hub_endpoint: str | None = None
    ) -> AsyncIterator[WorkerClient]:
        options = WorkerOptions(
            model or str(model_folder), models_dir=str(tmp_path), allow_folder=True, hub_endpoint=hub_endpoint
        )
        client = WorkerClient(options, ModelCatalogue(tmp_path), policy=policy, command=echo_command(*arguments))
        client.start()
        try:
            yield client
        finally:
            await client.aclose()

    return open_client


async def until(condition: Callable[[], bool], *, timeout_s: float = 30.0) -> None:
    """Wait for something that another process brings about; a bound for a broken run, not a timing."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 (no event could tell: it happens in another process)
            await asyncio.sleep(0.005)


def is_alive(pid: int | None) -> bool:
    """Whether there is such a process, be it a zombie that nobody has reaped."""
    if pid is None:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
