import os
from pathlib import Path

import pytest

from gpt2svc.engine.config import EngineConfig
from gpt2svc.errors import ConfigError
from gpt2svc.worker.cpu import apply_cpu_options, num_usable_cpus
from gpt2svc.worker.options import WorkerOptions


def test_a_containers_quota_limits_the_number_of_cpus(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert num_usable_cpus(tmp_path) == min(2, len(os.sched_getaffinity(0)))
    (tmp_path / "cpu.max").write_text("10000 100000\n")
    assert num_usable_cpus(tmp_path) == 1


@pytest.mark.parametrize("content", ["max 100000\n", "", None])
def test_without_a_quota_the_affinity_counts(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "cpu.max").write_text(content)
    assert num_usable_cpus(tmp_path) == len(os.sched_getaffinity(0))


def test_thread_counts_are_set_for_torch_and_the_users_own_stay() -> None:
    environ = {"MKL_NUM_THREADS": "7"}
    apply_cpu_options(WorkerOptions("m", "models", engine=EngineConfig(num_threads=3)), environ)
    assert environ == {"MKL_NUM_THREADS": "7", "OMP_NUM_THREADS": "3"}


def test_cpus_that_are_not_there_are_a_config_error() -> None:
    with pytest.raises(ConfigError, match="100000"):
        apply_cpu_options(WorkerOptions("m", "models", cpus=(100000,)), {})
