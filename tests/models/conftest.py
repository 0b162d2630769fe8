"""A hub on this machine, and what is pulled from it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.checkpoint import write_checkpoint
from tests.fakes.hub_server import HubServer


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer().running() as server:
        yield server


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "checkpoint")


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    return tmp_path / "data" / "models"
