from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.chat_stack import ChatStack


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[ChatStack]:
    """Started, and stopped after the test."""
    stack = ChatStack(tmp_path)
    await stack.start()
    yield stack
    stack.database.is_full = False
    await stack.stop()
