"""What one reply tells the service's metrics and its log: never its text, only counts and times."""

import logging
import time
from collections.abc import Mapping

from gpt2svc.generation.job import GenerationJob
from gpt2svc.metrics import Metrics

logger = logging.getLogger(__name__)


class ReplyMeter:
    """Made when the reply is accepted. `add_tokens` is called for each step of the engine and costs a few µs."""

    def __init__(self, job: GenerationJob, metrics: Metrics) -> None:
        self._job = job
        self._metrics = metrics
        self._accepted_at = time.monotonic()
        self._last_token_at: float | None = None
        metrics.accepted.inc()

    def add_tokens(self, num_tokens: int, num_cached_tokens: int) -> None:
        """A step brought so many tokens; `num_cached_tokens` of the prompt came from a reused prefix."""
        now = time.monotonic()
        metrics = self._metrics
        if self._last_token_at is None:
            metrics.time_to_first_token.observe(now - self._accepted_at)
            metrics.prompt_tokens.inc(len(self._job.prompt_token_ids))
            metrics.cached_prompt_tokens.inc(num_cached_tokens)
        elif num_tokens:
            metrics.inter_token_latency.observe((now - self._last_token_at) / num_tokens)
        self._last_token_at = now
        metrics.generation_tokens.inc(num_tokens)

    def end(
        self,
        status: str,
        finish_reason: str | None,
        code: str | None,
        *,
        usage: Mapping[str, int],
        timings: Mapping[str, float],
    ) -> None:
        """The reply has ended so; `code` says why, where it did not end well."""
        duration_s = time.monotonic() - self._accepted_at
        self._metrics.finished.labels(status, finish_reason or "none").inc()
        self._metrics.e2e_latency.observe(duration_s)
        logger.info(
            "generation ended",
            extra={
                "generation_id": self._job.generation_id,
                "key_id": self._job.owner,
                "model": self._job.model,
                "status": status,
                "finish_reason": finish_reason,
                "code": code,
                **usage,
                **{f"{name}_s" if name != "tokens_per_second" else name: value for name, value in timings.items()},
            },
        )
