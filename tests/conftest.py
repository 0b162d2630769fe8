"""What several packages share, and the order of the files: what takes long begins first, so that none waits for it."""

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gpt2svc.persistence.migration_scripts import MigrationScripts
from gpt2svc.persistence.schema import upgrade_schema
from tests.fakes.chat_stack import ChatStack

LONGEST = Path(__file__).parent / "e2e" / "test_soak.py"


@pytest.hookimpl(trylast=True)  # after the folders' own hooks, which mark what is slow
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    slow_files = {item.path for item in items if item.get_closest_marker("slow") is not None}
    items.sort(key=lambda item: (item.path != LONGEST, item.path not in slow_files))


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Migrated once: copying it takes a hundredth of the time."""
    path = tmp_path_factory.mktemp("empty") / "gpt2svc.db"
    upgrade_schema(path, MigrationScripts.bundled())
    return path


@pytest.fixture
async def stack(tmp_path: Path, empty_database: Path) -> AsyncIterator[ChatStack]:
    """Started, and stopped after the test."""
    shutil.copy(empty_database, tmp_path / "gpt2svc.db")
    stack = ChatStack(tmp_path)
    await stack.start()
    yield stack
    stack.database.is_full = False
    await stack.stop()


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Matrices this small gain nothing from threads, and lose much where other work keeps the cores busy."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
