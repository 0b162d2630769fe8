"""GraphRunner: a function of fixed shapes, run as it stands first and replayed from a recording from then on."""

import logging
from collections.abc import Callable, Hashable
from typing import Protocol

_log = logging.getLogger(__name__)


class GraphRecorder(Protocol):
    """What records the work that a function gives a device. CudaGraphs (models/cuda_graphs.py) is one."""

    def warm_up(self, function: Callable[[], None]) -> None:
        """Run it once, where recording will run it."""
        ...

    def record(self, function: Callable[[], None]) -> Callable[[], None]:
        """Record it without running it; returns what replays it. Raises RuntimeError where that fails."""
        ...

    def release(self) -> None:
        """All recordings have been dropped: what they shared can go as well."""
        ...


class GraphRunner:
    """A key stands for the shapes: its function must read from and write to the same memory each time.

    The first run of a key is its warm-up, the second one records, so that what occurs once costs no recording. Where
    recording fails, which is logged once, everything goes on without; without a recorder it does so from the start.
    """

    def __init__(self, recorder: GraphRecorder | None) -> None:
        self._recorder = recorder
        self._replays: dict[Hashable, Callable[[], None]] = {}
        self._warm: set[Hashable] = set()

    def run(self, key: Hashable, function: Callable[[], None]) -> None:
        """What `function` does, once."""
        if self._recorder is None:
            function()
        elif key in self._replays:
            self._replays[key]()
        elif key not in self._warm:
            self._recorder.warm_up(function)
            self._warm.add(key)
        elif self._record(self._recorder, key, function):
            self._replays[key]()
        else:
            function()

    def clear(self) -> None:
        """Forget all recordings: memory that they name has moved."""
        self._replays.clear()
        self._warm.clear()
        if self._recorder is not None:
            self._recorder.release()

    def _record(self, recorder: GraphRecorder, key: Hashable, function: Callable[[], None]) -> bool:
        try:
            self._replays[key] = recorder.record(function)
        except RuntimeError:
            _log.warning("A CUDA graph could not be captured: decoding goes on without graphs", exc_info=True)
            self.clear()
            self._recorder = None
            return False
        return True
