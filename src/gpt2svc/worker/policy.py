"""When a worker process is restarted, given up, or taken for hung."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """All times in seconds."""

    backoff_s: float = 0.2  # before the first restart; doubles with each crash
    max_backoff_s: float = 30.0
    healthy_s: float = 60.0  # a worker that was ready for so long starts over with `backoff_s`
    max_load_crashes: int = 3  # crashes in a row before it was ready: then the model counts as failed
    retry_s: float = 60.0  # a failure that may pass (crashes, an unreachable hub) is tried again after so long
    min_retry_s: float = 5.0  # a model that failed for good is tried again when it is asked for, not sooner than this
    hang_s: float = 120.0  # no sign of life for so long, while something is expected of it: it is killed
    stop_grace_s: float = 5.0  # how long it may take to exit when asked to

    def backoff(self, num_crashes: int) -> float:
        """Delay before the restart that follows the `num_crashes`-th crash in a row (from 1)."""
        return min(self.max_backoff_s, self.backoff_s * 2.0 ** min(num_crashes - 1, 32))
