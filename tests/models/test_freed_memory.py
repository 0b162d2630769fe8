import sys
from pathlib import Path

import pytest

from gpt2svc.models.freed_memory import return_freed_memory


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only there it can be measured like this")
def test_freed_memory_leaves_the_process() -> None:
    # Small pieces, so that they come from the heap, of which one at the end stays and holds the rest.
    pieces = [bytearray(20_000) for _ in range(2000)]
    kept = pieces[-1]
    del pieces
    before = _resident_bytes()
    return_freed_memory()
    assert before - _resident_bytes() > 20_000_000
    assert len(kept) == 20_000
