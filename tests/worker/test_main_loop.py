"""The worker's loop, step by step: what nobody wants any more gets no further step."""

from collections.abc import Sequence

import pytest

from gpt2svc.engine.types import EngineStats, TokenOutput
from gpt2svc.worker.messages import Abort, FromWorker, Outputs, Shutdown, Submit, ToWorker
from gpt2svc.worker.process import WorkerProcess
from tests.fakes.scripted_core import ScriptedCore
from tests.worker.messages import request


class Channel:
    """Hands out one list of messages each time it is asked, and keeps what is sent."""

    def __init__(self, *script: Sequence[ToWorker]) -> None:
        self._script = list(script)
        self.sent: list[FromWorker] = []
        self.asked_blocking: list[bool] = []

    def receive(self, *, is_blocking: bool) -> Sequence[ToWorker]:
        self.asked_blocking.append(is_blocking)
        return self._script.pop(0)

    def send(self, message: FromWorker) -> None:
        self.sent.append(message)


class Core(ScriptedCore):
    """Its steps bring as many tokens as a step with verified drafts may."""

    def __init__(self, tokens_per_step: int) -> None:
        super().__init__([7] * 1000)
        self._tokens_per_step = tokens_per_step

    @property
    def stats(self) -> EngineStats:
        return EngineStats()

    def check_integrity(self) -> None:
        assert not self._positions

    def step(self) -> list[TokenOutput]:
        return [output for _ in range(self._tokens_per_step) for output in super(Core, self).step()]


def num_steps(channel: Channel, request_id: str) -> int:
    frames = [message for message in channel.sent if isinstance(message, Outputs)]
    return sum(any(output.request_id == request_id for output in frame.outputs) for frame in frames)


@pytest.mark.parametrize("tokens_per_step", [1, 4])
def test_an_aborted_request_gets_no_step_after_the_one_in_progress(tokens_per_step: int) -> None:
    core = Core(tokens_per_step)
    one, other = (Submit(request(name, max_new_tokens=1000)) for name in ("one", "other"))
    channel = Channel([one, other], [], [], [Abort("one")], [], [Abort("other")], [Shutdown()])
    WorkerProcess(channel, load=lambda *_: None).main_loop(core)  # type: ignore[arg-type]
    assert num_steps(channel, "one") == 3
    assert num_steps(channel, "other") == 5
    assert core.aborted == ["one", "other"]
    # Idle at once: the next look for messages waits for one.
    assert channel.asked_blocking == [True, False, False, False, False, False, True]


def test_a_request_that_is_aborted_with_its_arrival_gets_no_step_at_all() -> None:
    core = Core(1)
    channel = Channel([Submit(request("one")), Abort("one")], [Shutdown()])
    WorkerProcess(channel, load=lambda *_: None).main_loop(core)  # type: ignore[arg-type]
    assert channel.sent == []
    assert core.aborted == ["one"]
