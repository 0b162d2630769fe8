"""Mixed load on the real service, and nothing has grown: short here, longer with SOAK_SECONDS or `bench/soak.py`."""

import asyncio
import os
from pathlib import Path

import pytest
from bench.soak import ENVIRONMENT, Soak

from tests.e2e.service import Service

SECONDS = float(os.environ.get("SOAK_SECONDS", "15"))


@pytest.mark.timeout(180 + 2 * SECONDS)
def test_mixed_load_leaves_memory_handles_threads_and_tasks_flat(data_dir: Path) -> None:
    with Service(data_dir, environment=ENVIRONMENT) as service:
        service.wait_until_ready()
        soak = Soak(service)
        asyncio.run(soak.run(SECONDS))
        assert soak.wrong == [], service.log
        # Whatever a user may do was done, and each was refused for load now and then.
        endings = {key.split(" ")[-1] for key in soak.answers.counts}
        assert endings >= {"200", "201", "204", "400", "401", "404", "413", "422", "429", "up", "off"}
        assert service.terminate() == 0
        assert "Traceback" not in service.log, service.log
