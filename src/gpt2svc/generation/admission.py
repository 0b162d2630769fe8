"""How much work the service takes on: a bound on replies in progress and on the tokens they may need.

`reserve` is synchronous and comes before any work or await, so a burst can't slip through between a check and a count,
and a refusal costs nothing. Health, cancel and resume never ask here.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gpt2svc.errors import OverloadedError

ASSUMED_TOKENS_PER_SECOND = 50.0  # until the first second of work has been measured
MIN_RETRY_AFTER_S = 1.0
MAX_RETRY_AFTER_S = 120.0


class Permit:
    """A place, worth `num_tokens` (prompt and longest possible reply): to be released however the work ends."""

    def __init__(self, admission: "Admission", owner: str, num_tokens: int) -> None:
        self.owner = owner
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


@dataclass(frozen=True, slots=True)
class RateLimits:
    """What one owner may have in progress at a time, and how much of that is free now."""

    max_requests: int
    num_free_requests: int
    max_tokens: int
    num_free_tokens: int
    reset_s: float  # until what is in progress is through, by the measured speed


@dataclass(slots=True)
class _Load:
    num_requests: int = 0
    num_tokens: int = 0


class Admission:
    """At most `max_requests` replies in progress, which together may need at most `max_tokens` tokens.

    Of both, each owner with a name gets `max_owner_share` at most, so that one greedy key leaves places to the others;
    the owner "" (the configured key, or nobody) has no such bound. One request that alone needs more tokens than its
    bound is counted as the bound: it runs when nothing else does.
    """

    def __init__(
        self,
        max_requests: int,
        max_tokens: int,
        *,
        max_owner_share: float = 1.0,
        on_reject: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_reject` hears of each refusal, by which bound: "requests", "tokens", "key_requests", "key_tokens"."""
        self.max_requests = max_requests
        self.max_tokens = max_tokens
        self._max_owner_requests = max(1, int(max_requests * max_owner_share))
        self._max_owner_tokens = max(1, int(max_tokens * max_owner_share))
        self._on_reject = on_reject
        self._clock = clock
        self._total = _Load()
        self._by_owner: dict[str, _Load] = {}  # only those with something in progress
        self._tokens_per_second: float | None = None
        self._window_start = clock()
        self._window_tokens = 0

    @property
    def num_requests(self) -> int:
        return self._total.num_requests

    @property
    def num_tokens(self) -> int:
        return self._total.num_tokens

    @property
    def tokens_per_second(self) -> float | None:
        """Measured while there was work; None until the first second of it."""
        return self._tokens_per_second

    def limits(self, owner: str) -> RateLimits:
        """As `reserve` would apply them now."""
        load = self._by_owner.get(owner, _Load())
        max_requests, max_tokens = self._bounds(owner)
        return RateLimits(
            max_requests=max_requests,
            num_free_requests=min(max_requests - load.num_requests, self.max_requests - self._total.num_requests),
            max_tokens=max_tokens,
            num_free_tokens=min(max_tokens - load.num_tokens, self.max_tokens - self._total.num_tokens),
            reset_s=self._total.num_tokens / self._speed,
        )

    def reserve(self, num_tokens: int, owner: str = "") -> Permit:
        """Take a place. Raises OverloadedError, with an estimate of when to come back, where none is free."""
        _, max_tokens = self._bounds(owner)
        num_tokens = min(num_tokens, max_tokens)
        self.require_place(owner, num_tokens)
        if self._total.num_requests == 0:
            self._window_start, self._window_tokens = self._clock(), 0  # idle time is not slowness
        for each in (self._total, self._by_owner.setdefault(owner, _Load())):
            each.num_requests += 1
            each.num_tokens += num_tokens
        return Permit(self, owner, num_tokens)

    def reserve_each(self, nums_tokens: Iterable[int], owner: str = "") -> list[Permit]:
        """A place for each, or none at all. Raises as `reserve` does."""
        permits: list[Permit] = []
        try:
            for num_tokens in nums_tokens:
                permits.append(self.reserve(num_tokens, owner))
        except BaseException:
            for permit in permits:
                permit.release()
            raise
        return permits

    def require_place(self, owner: str = "", num_tokens: int = 1) -> None:
        """Raises what `reserve` would; by default for the least that a request can need."""
        max_requests, _ = self._bounds(owner)
        load = self._by_owner.get(owner, _Load())
        if self._total.num_requests >= self.max_requests:
            raise self._refusal(
                "requests",
                f"The service already works on {self._total.num_requests} replies, as many as it takes on.",
                num_tokens,
            )
        if load.num_requests >= max_requests:
            raise self._refusal(
                "key_requests",
                f"This API key already has {load.num_requests} replies in progress, as many as one key may have.",
                num_tokens,
            )
        self._require_tokens(owner, num_tokens)

    def record_tokens(self, num_tokens: int) -> None:
        """So many tokens came out of an engine: what the estimate of `retry_after_s` rests on."""
        self._window_tokens += num_tokens
        elapsed = self._clock() - self._window_start
        if elapsed >= 1.0:
            rate = self._window_tokens / elapsed
            previous = self._tokens_per_second
            self._tokens_per_second = rate if previous is None else 0.5 * previous + 0.5 * rate
            self._window_start, self._window_tokens = self._clock(), 0

    @property
    def _speed(self) -> float:
        return max(1.0, self._tokens_per_second or ASSUMED_TOKENS_PER_SECOND)

    def _bounds(self, owner: str) -> tuple[int, int]:
        return (self._max_owner_requests, self._max_owner_tokens) if owner else (self.max_requests, self.max_tokens)

    def _require_tokens(self, owner: str, num_more: int) -> None:
        if self._total.num_tokens + num_more > self.max_tokens:
            raise self._refusal(
                "tokens",
                f"The replies in progress may need {self._total.num_tokens} tokens, and this one {num_more}: "
                f"more than the {self.max_tokens} that the service takes on.",
                num_more,
            )
        _, max_tokens = self._bounds(owner)
        num_tokens = self._by_owner.get(owner, _Load()).num_tokens
        if num_tokens + num_more > max_tokens:
            raise self._refusal(
                "key_tokens",
                f"The replies that this API key has in progress may need {num_tokens} tokens, and this one {num_more}: "
                f"more than the {max_tokens} that one key may have.",
                num_more,
            )

    def _refusal(self, reason: str, message: str, num_tokens: int) -> OverloadedError:
        if self._on_reject is not None:
            self._on_reject(reason)
        return OverloadedError(message, retry_after_s=self._retry_after_s(num_tokens))

    def _retry_after_s(self, num_tokens: int) -> float:
        """Seconds until so many tokens' worth of work is through, and at least one reply of average size."""
        excess = self._total.num_tokens + num_tokens - self.max_tokens
        average = self._total.num_tokens / max(1, self._total.num_requests)
        return min(max(max(excess, average) / self._speed, MIN_RETRY_AFTER_S), MAX_RETRY_AFTER_S)

    def _resize(self, permit: Permit, num_tokens: int) -> None:
        _, max_tokens = self._bounds(permit.owner)
        num_more = min(num_tokens, max_tokens) - permit.num_tokens
        if num_more > 0:
            self._require_tokens(permit.owner, num_more)
        self._total.num_tokens += num_more
        self._by_owner[permit.owner].num_tokens += num_more
        permit.num_tokens += num_more

    def _give_back(self, permit: Permit) -> None:
        for load in (self._total, self._by_owner[permit.owner]):
            load.num_requests -= 1
            load.num_tokens -= permit.num_tokens
        if self._by_owner[permit.owner].num_requests == 0:
            del self._by_owner[permit.owner]
