"""WorkerPool with real processes: which models are loaded, and who makes room."""

import asyncio
import shutil
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from gpt2svc.errors import InvalidInputError, NotFoundError, UnavailableError
from gpt2svc.models.catalogue import ModelCatalogue
from gpt2svc.worker.client import WorkerClient
from gpt2svc.worker.options import WorkerOptions
from gpt2svc.worker.pool import WorkerPool
from tests.worker.conftest import QUICK, echo_command, is_alive, until
from tests.worker.messages import request

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def models_dir(tmp_path: Path, model_folder: Path) -> Path:
    """Three models that look as if they had been pulled from the hub."""
    for name in ("one", "two", "three"):
        repository = tmp_path / f"tests--{name}"
        shutil.copytree(model_folder, repository / COMMIT)
        (repository / "refs.json").write_text(f'{{"main": "{COMMIT}"}}', encoding="utf-8")
    return tmp_path


@pytest.fixture
def build_pool(models_dir: Path, model_folder: Path):
    def build_pool(default: str | None = None, *arguments: str, **limits: Any) -> WorkerPool:
        return WorkerPool(
            ModelCatalogue(models_dir),
            WorkerOptions(default or str(model_folder), models_dir=str(models_dir)),
            policy=QUICK,
            command=echo_command(*arguments),
            **{"min_idle_s": 0.0, **limits},
        )

    return build_pool


async def use(client: WorkerClient) -> None:
    outputs = [output async for output in client.submit(request())]
    assert outputs[-1].finish_reason == "length"


async def test_the_default_model_is_loaded_by_start_and_others_by_their_first_use(build_pool, model_folder) -> None:
    async with build_pool() as pool:
        assert [state.model for state in pool.states()] == [str(model_folder)] == [pool.default_model]
        await use(pool.get())
        assert pool.get(str(model_folder)) is pool.get()
        await use(pool.get("tests/one"))
        assert [(state.model, state.status) for state in pool.states()] == [
            (str(model_folder), "ready"),
            ("tests/one", "ready"),
        ]


async def test_all_spellings_of_a_name_share_one_worker(build_pool) -> None:
    async with build_pool("tests/one") as pool:
        assert pool.get("tests/one@main") is pool.get("tests/one") is pool.get()


async def test_the_least_recently_used_idle_model_makes_room_and_the_default_stays(build_pool, model_folder) -> None:
    async with build_pool(max_loaded_models=3) as pool:
        await use(pool.get("tests/one"))
        await use(pool.get("tests/two"))
        await use(pool.get("tests/one"))
        replaced = pool.get("tests/two")
        pid = replaced.pid
        pool.get("tests/one")
        await use(pool.get("tests/three"))
        assert [state.model for state in pool.states()] == [str(model_folder), "tests/one", "tests/three"]
        assert replaced.state.status == "stopped"
        assert not is_alive(pid)


async def test_a_model_in_use_is_not_stopped_for_another(build_pool) -> None:
    async with build_pool(None, "--step-s", "0.002") as pool:
        async with aclosing(pool.get("tests/one").submit(request(max_new_tokens=100_000))) as outputs:
            await anext(outputs)
            with pytest.raises(UnavailableError, match="max_loaded_models") as raised:
                pool.get("tests/two")
            assert raised.value.retry_after_s is not None
            assert (await anext(outputs)).finish_reason is None
        await use(pool.get("tests/two"))


async def test_a_model_just_asked_for_is_not_stopped_before_its_request_comes(build_pool) -> None:
    async with build_pool(min_idle_s=3600.0) as pool:
        pool.get("tests/one")
        with pytest.raises(UnavailableError, match="in use"):
            pool.get("tests/two")


async def test_a_model_that_is_not_on_this_machine_is_not_found(build_pool) -> None:
    async with build_pool() as pool:
        with pytest.raises(NotFoundError) as raised:
            pool.get("tests/unknown")
        assert (raised.value.kind, raised.value.identifier) == ("model", "tests/unknown")
        assert len(pool.states()) == 1


async def test_a_client_cannot_name_folders_or_nonsense(build_pool, models_dir: Path) -> None:
    async with build_pool() as pool:
        for name in (str(models_dir / "tests--one" / COMMIT), "./x", "../x", "a b", "", "x" * 10_000):
            with pytest.raises(InvalidInputError):
                pool.get(name)


async def test_a_failed_model_is_tried_again_when_it_is_asked_for_and_mended(build_pool, models_dir: Path) -> None:
    tokenizer = models_dir / "tests--one" / COMMIT / "tokenizer.json"
    content = tokenizer.read_bytes()
    tokenizer.write_bytes(b"{}")
    async with build_pool() as pool:
        broken = pool.get("tests/one")
        await until(lambda: broken.state.status == "failed")
        tokenizer.write_bytes(content)
        mended = pool.get("tests/one")
        assert mended is not broken
        await use(mended)


async def test_a_broken_default_model_is_reported_and_does_not_stop_the_pool(build_pool, tmp_path: Path) -> None:
    async with build_pool(str(tmp_path / "nowhere")) as pool:
        await until(lambda: pool.states()[0].status == "failed")
        assert "not a folder" in (pool.states()[0].error or "")
        await use(pool.get("tests/one"))


async def test_closing_stops_every_worker_and_leaves_no_task(build_pool) -> None:
    async with build_pool(max_loaded_models=3) as pool:
        clients = [pool.get(), pool.get("tests/one"), pool.get("tests/two")]
        await use(clients[0])
        await until(lambda: all(client.pid is not None for client in clients))
        pids = [client.pid for client in clients]
    assert not any(is_alive(pid) for pid in pids)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    with pytest.raises(UnavailableError):
        pool.get()
