"""Mixed load on the real service, and nothing has grown: short here, longer with SOAK_SECONDS or `bench/soak.py`."""

import asyncio
import os
from pathlib import Path

import pytest
from bench.soak import ENVIRONMENT, soak_service

from tests.e2e.service import Service

SECONDS = float(os.environ.get("SOAK_SECONDS", "15"))


@pytest.mark.timeout(180 + 2 * SECONDS)
def test_mixed_load_leaves_memory_handles_threads_and_tasks_flat(data_dir: Path) -> None:
    with Service(data_dir, environment=ENVIRONMENT) as service:
        service.wait_until_ready()
        soak = asyncio.run(soak_service(service, SECONDS))
        assert soak.wrong == [], service.log
        # Whatever a user may do was done, and each was refused for load now and then.
        assert {key.split(" ")[-1] for key in soak.answers} >= {"200", "201", "429", "up"}
        assert service.terminate() == 0
        assert "Traceback" not in service.log, service.log
