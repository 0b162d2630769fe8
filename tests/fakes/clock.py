"""A clock that a test moves."""

from datetime import UTC, datetime, timedelta


class Clock:
    """Each look at it is a microsecond later, as with a real one, so that things made in turn have times in turn."""

    def __init__(self, now: datetime = datetime(2026, 11, 21, 12, tzinfo=UTC)) -> None:
        self._now = now

    def __call__(self) -> datetime:
        self._now += timedelta(microseconds=1)
        return self._now

    def move(self, by: timedelta) -> None:
        self._now += by
