import pytest

from gpt2svc.errors import ConfigError
from gpt2svc.worker.cpu import apply_cpu_options
from gpt2svc.worker.options import WorkerOptions


def test_threads_wait_asleep_unless_the_user_says_otherwise() -> None:
    environ: dict[str, str] = {}
    apply_cpu_options(WorkerOptions("m", "models"), environ)
    assert environ == {"OMP_WAIT_POLICY": "PASSIVE"}
    environ = {"OMP_WAIT_POLICY": "ACTIVE"}
    apply_cpu_options(WorkerOptions("m", "models"), environ)
    assert environ == {"OMP_WAIT_POLICY": "ACTIVE"}


def test_cpus_that_are_not_there_are_a_config_error() -> None:
    with pytest.raises(ConfigError, match="100000"):
        apply_cpu_options(WorkerOptions("m", "models", cpus=(100000,)), {})
