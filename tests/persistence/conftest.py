import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gpt2svc.persistence.database import Database
from tests.fakes.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "gpt2svc.db"


@pytest.fixture
async def database(path: Path, clock: Clock, empty_database: Path) -> AsyncIterator[Database]:
    path.parent.mkdir()
    shutil.copy(empty_database, path)
    async with Database(path, clock=clock, synchronous="NORMAL") as database:
        yield database
