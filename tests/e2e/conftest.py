from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.service import Service

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def shared_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests that do it no harm."""
    with Service(tmp_path_factory.mktemp("shared") / "data") as service:
        yield service.wait_until_ready()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"
