import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpt2svc.errors import StorageError
from gpt2svc.persistence.process_lock import ProcessLock

HOLD = """
import asyncio, sys, time
from pathlib import Path
from gpt2svc.persistence.process_lock import ProcessLock
lock = ProcessLock(Path(sys.argv[1]))
asyncio.run(lock.acquire(0))
print("held", flush=True)
time.sleep(60)
"""


async def test_a_second_holder_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    first, second = ProcessLock(tmp_path / "x.lock"), ProcessLock(tmp_path / "x.lock")
    await first.acquire(0)
    with pytest.raises(StorageError, match=rf"pid {os.getpid()}\b"):
        await second.acquire(0.06)
    first.release()
    await second.acquire(0)
    second.release()
    second.release()


async def test_a_killed_process_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    holder = await asyncio.create_subprocess_exec(sys.executable, "-c", HOLD, str(path), stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert await holder.stdout.readline() == b"held\n"
    lock = ProcessLock(path)
    with pytest.raises(StorageError, match=rf"pid {holder.pid}\b"):
        await lock.acquire(0)
    holder.kill()
    await lock.acquire(30)
    assert path.read_text() == f"{os.getpid()}\n"
    lock.release()
    await holder.wait()


async def test_a_lock_file_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="lock file"):
        await ProcessLock(tmp_path / "missing" / "x.lock").acquire(0)
