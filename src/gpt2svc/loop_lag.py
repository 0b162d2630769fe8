"""How late the event loop runs: the first thing to look at when everything seems slow."""

import asyncio
from collections.abc import Callable

INTERVAL_S = 0.25


class LoopLagMonitor:
    """Sleeps for `interval_s` over and over, and reports in seconds how much later than that it woke."""

    def __init__(self, report: Callable[[float], None], *, interval_s: float = INTERVAL_S) -> None:
        self._report = report
        self._interval_s = interval_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="loop-lag")

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + self._interval_s
            await asyncio.sleep(self._interval_s)
            self._report(max(0.0, loop.time() - due))
