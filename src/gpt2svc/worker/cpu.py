"""The worker's share of the CPU: affinity, niceness, and how its threads wait. Set before torch is imported."""

import os
from collections.abc import MutableMapping

from gpt2svc.errors import ConfigError
from gpt2svc.worker.options import WorkerOptions


def apply_cpu_options(options: WorkerOptions, environ: MutableMapping[str, str]) -> None:
    """Pin and nice this process, and set OpenMP's variables in `environ`, where the user's own values stay.

    How many threads there are is the engine's affair. Raises ConfigError for CPUs that this process may not use.
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
    # NOTE: by default a thread that is done spins until the others are. A step has hundreds of such meetings, and on a
    # machine with anything else to do (this service's own event loop is enough) the one waited for is often not
    # running: the starter model's steps then take 100 to 200 ms instead of 10. Asleep, they wait a few microseconds.
    environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
