"""How much work the service takes on: a bound on replies in progress and on the tokens they may need.

`reserve` is synchronous and comes before any work or await, so a burst can't slip through between a check and a count,
and a refusal costs nothing. Health, cancel and resume never ask here.
"""

import time
from collections.abc import Callable

from gpt2svc.errors import OverloadedError

ASSUMED_TOKENS_PER_SECOND = 50.0  # until the first second of work has been measured
MIN_RETRY_AFTER_S = 1.0
MAX_RETRY_AFTER_S = 120.0


class Permit:
    """A place, worth `num_tokens` (prompt and longest possible reply): to be released however the work ends."""

    def __init__(self, admission: "Admission", num_tokens: int) -> None:
        self.num_tokens = num_tokens
        self._admission: Admission | None = admission

    @property
    def is_released(self) -> bool:
        return self._admission is None

    def resize(self, num_tokens: int) -> None:
        """Set the true need once the prompt is known. Raises OverloadedError when it grows past the bound."""
        if self._admission is not None:
            self._admission._resize(self, num_tokens)

    def release(self) -> None:
        """Give the place back; again is harmless."""
        admission, self._admission = self._admission, None
        if admission is not None:
            admission._give_back(self)


class Admission:
    """At most `max_requests` replies in progress, which together may need at most `max_tokens` tokens.

    One request that alone needs more than `max_tokens` is counted as `max_tokens`: it runs when nothing else does.
    """

    def __init__(self, max_requests: int, max_tokens: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.max_requests = max_requests
        self.max_tokens = max_tokens
        self._clock = clock
        self._num_requests = 0
        self._num_tokens = 0
        self._tokens_per_second: float | None = None
        self._window_start = clock()
        self._window_tokens = 0

    @property
    def num_requests(self) -> int:
        return self._num_requests

    @property
    def num_tokens(self) -> int:
        return self._num_tokens

    @property
    def tokens_per_second(self) -> float | None:
        """Measured while there was work; None until the first second of it."""
        return self._tokens_per_second

    def reserve(self, num_tokens: int) -> Permit:
        """Take a place. Raises OverloadedError, with an estimate of when to come back, where none is free."""
        num_tokens = min(num_tokens, self.max_tokens)
        if self._num_requests >= self.max_requests:
            raise OverloadedError(
                f"The service already works on {self._num_requests} replies, as many as it takes on.",
                retry_after_s=self._retry_after_s(num_tokens),
            )
        self._require_tokens(num_tokens)
        if self._num_requests == 0:
            self._window_start, self._window_tokens = self._clock(), 0  # idle time is not slowness
        self._num_requests += 1
        self._num_tokens += num_tokens
        return Permit(self, num_tokens)

    def record_tokens(self, num_tokens: int) -> None:
        """So many tokens came out of an engine: what the estimate of `retry_after_s` rests on."""
        self._window_tokens += num_tokens
        elapsed = self._clock() - self._window_start
        if elapsed >= 1.0:
            rate = self._window_tokens / elapsed
            previous = self._tokens_per_second
            self._tokens_per_second = rate if previous is None else 0.5 * previous + 0.5 * rate
            self._window_start, self._window_tokens = self._clock(), 0

    def _require_tokens(self, num_more: int) -> None:
        if self._num_tokens + num_more > self.max_tokens:
            raise OverloadedError(
                f"The replies in progress may need {self._num_tokens} tokens, and this one {num_more}: "
                f"more than the {self.max_tokens} that the service takes on.",
                retry_after_s=self._retry_after_s(num_more),
            )

    def _retry_after_s(self, num_tokens: int) -> float:
        """Seconds until so many tokens' worth of work is through, and at least one reply of average size."""
        excess = self._num_tokens + num_tokens - self.max_tokens
        average = self._num_tokens / max(1, self._num_requests)
        seconds = max(excess, average) / max(1.0, self._tokens_per_second or ASSUMED_TOKENS_PER_SECOND)
        return min(max(seconds, MIN_RETRY_AFTER_S), MAX_RETRY_AFTER_S)

    def _resize(self, permit: Permit, num_tokens: int) -> None:
        num_more = min(num_tokens, self.max_tokens) - permit.num_tokens
        if num_more > 0:
            self._require_tokens(num_more)
        self._num_tokens += num_more
        permit.num_tokens += num_more

    def _give_back(self, permit: Permit) -> None:
        self._num_requests -= 1
        self._num_tokens -= permit.num_tokens
