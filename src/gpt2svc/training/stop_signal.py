"""Ctrl-C and SIGTERM as a request to stop after the step in progress."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

HANDLED = (signal.SIGINT, signal.SIGTERM)


class StopSignal:
    """While entered, the first of the signals sets `number`; a second Ctrl-C interrupts at once, as usual."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        # NOTE: Python allows handlers in the main thread only; elsewhere nobody can be asked to stop this way.
        if threading.current_thread() is threading.main_thread():
            self._previous = {name: signal.signal(name, self._receive) for name in HANDLED}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name, handler in self._previous.items():
            signal.signal(name, handler)

    @property
    def is_received(self) -> bool:
        return self.number is not None

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.is_received and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = number
