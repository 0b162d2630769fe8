"""The worker's share of the CPU: threads, affinity, niceness. Set before torch is imported, which reads it once."""

import math
import os
from collections.abc import MutableMapping
from pathlib import Path

from gpt2svc.errors import ConfigError
from gpt2svc.worker.options import WorkerOptions

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def num_usable_cpus(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """CPUs that this process may keep busy: its affinity, and the quota of its container (cgroup v2).

    Without the quota, torch in a container of 2 CPUs on a machine of 64 would start 64 threads that wait for each
    other.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = (cgroup / "cpu.max").read_text(encoding="ascii").split()
        return max(1, min(allowed, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no cgroup v2, or "max"
        return allowed


def apply_cpu_options(options: WorkerOptions, environ: MutableMapping[str, str]) -> None:
    """Pin and nice this process and set the thread counts in `environ`, where the user's own values stay.

    Raises ConfigError for CPUs that this process may not use.
    """
    if options.cpus and hasattr(os, "sched_setaffinity"):
        try:
            os.sched_setaffinity(0, options.cpus)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"The worker can't be pinned to the CPUs {options.cpus}: {error}.", field="cpus"
            ) from error
    if options.niceness:
        os.nice(options.niceness)
    num_threads = options.engine.num_threads or num_usable_cpus()
    for name in _THREAD_VARIABLES:
        environ.setdefault(name, str(num_threads))
