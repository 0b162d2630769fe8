import asyncio
import time

from gpt2svc.loop_lag import LoopLagMonitor
from tests.fakes.chat_stack import until


async def test_a_blocked_event_loop_is_reported() -> None:
    lags: list[float] = []
    monitor = LoopLagMonitor(lags.append, interval_s=0.001)
    monitor.start()
    await asyncio.sleep(0.005)
    time.sleep(0.05)  # noqa: ASYNC251 (what no code of the service may do)
    await until(lambda: max(lags, default=0.0) >= 0.04)
    await monitor.stop()


async def test_stopping_leaves_no_task_and_may_come_twice() -> None:
    monitor = LoopLagMonitor(lambda _: None)
    monitor.start()
    await monitor.stop()
    await monitor.stop()
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "loop-lag"]
