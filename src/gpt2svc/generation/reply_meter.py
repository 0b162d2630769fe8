"""What one reply tells the service's metrics and its log: never its text, only counts and times."""

import logging
import time
from collections.abc import Mapping
from typing import Any

from gpt2svc.metrics import Metrics

logger = logging.getLogger(__name__)


class ReplyMeter:
    """Made when the reply is accepted. `add_tokens` is called for each step of the engine and costs a few µs."""

    def __init__(self, metrics: Metrics, *, identifier: str, owner: str, model: str, num_prompt_tokens: int) -> None:
        self._metrics = metrics
        self._facts = {"generation_id": identifier, "key_id": owner, "model": model}
        self._num_prompt_tokens = num_prompt_tokens
        self._accepted_at = time.monotonic()
        self._first_token_at: float | None = None
        self._last_token_at = 0.0
        self._is_prompt_counted = False
        self._has_ended = False
        self._num_tokens = 0
        self._num_cached_tokens = 0
        metrics.accepted.inc()

    def add_tokens(self, num_tokens: int, num_cached_tokens: int) -> None:
        """A step brought so many tokens; `num_cached_tokens` of the prompt came from a reused prefix."""
        now = time.monotonic()
        metrics = self._metrics
        if not self._is_prompt_counted:
            self._is_prompt_counted = True
            self._num_cached_tokens = num_cached_tokens
            metrics.prompt_tokens.inc(self._num_prompt_tokens)
            metrics.cached_prompt_tokens.inc(num_cached_tokens)
        if num_tokens == 0:
            return  # the prompt was read, or the end told
        if self._first_token_at is None:
            self._first_token_at = now
            metrics.time_to_first_token.observe(now - self._accepted_at)
        else:
            for _ in range(num_tokens):  # each token of a step counts
                metrics.inter_token_latency.observe((now - self._last_token_at) / num_tokens)
        self._last_token_at = now
        self._num_tokens += num_tokens
        metrics.generation_tokens.inc(num_tokens)

    def end(self, status: str, finish_reason: str | None, code: str | None = None) -> None:
        """The reply has ended so; `code` says why, where it did not end well. Only the first call counts."""
        if self._has_ended:
            return
        self._has_ended = True
        duration_s = time.monotonic() - self._accepted_at
        self._metrics.finished.labels(status, finish_reason or "none").inc()
        self._metrics.e2e_latency.observe(duration_s)
        logger.info("generation", extra={**self._facts, **self._ending(status, finish_reason, code, duration_s)})

    def _ending(self, status: str, finish_reason: str | None, code: str | None, duration_s: float) -> Mapping[str, Any]:
        first = self._first_token_at
        return {
            "status": status,
            "finish_reason": finish_reason,
            "code": code,
            "prompt_tokens": self._num_prompt_tokens,
            "completion_tokens": self._num_tokens,
            "cached_tokens": self._num_cached_tokens,
            "ttft_ms": round(1000 * (first - self._accepted_at), 1) if first is not None else None,
            "duration_ms": round(1000 * duration_s, 1),
        }
