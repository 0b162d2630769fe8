"""The order of the test files, for a run in several processes: what takes long begins first, so none waits for it."""

from pathlib import Path

import pytest

LONGEST = Path(__file__).parent / "e2e" / "test_soak.py"


@pytest.hookimpl(trylast=True)  # after the folders' own hooks, which mark what is slow
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    slow_files = {item.path for item in items if item.get_closest_marker("slow") is not None}
    items.sort(key=lambda item: (item.path != LONGEST, item.path not in slow_files))
