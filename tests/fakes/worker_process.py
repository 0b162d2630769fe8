"""A worker process without torch: all of it is real but the engine, which echoes, and misbehaves when told to.

`python -m tests.fakes.worker_process [options] --fd N`. What a request's `owner` says happens when it has brought its
second token: "crash" kills the process, "hang" never returns from the step, "raise" raises out of it.
"""

import argparse
import os
import signal
import time
from collections.abc import Callable

from gpt2svc.engine.types import EngineRequest, EngineStats, ModelInfo, TokenOutput
from gpt2svc.errors import EngineError, InvalidInputError, ModelDownloadError, ModelFormatError
from gpt2svc.worker.loading import locate
from gpt2svc.worker.messages import FromWorker, Loading
from gpt2svc.worker.options import WorkerOptions
from gpt2svc.worker.process import leave, main
from tests.fakes.model_info import fake_model_info

MISBEHAVIOURS = ("crash", "hang", "raise")


class EchoEngine:
    """Brings the prompt's tokens again, one a step and request, round and round until `max_new_tokens`."""

    def __init__(self, num_slots: int, step_s: float) -> None:
        self._num_slots = num_slots
        self._step_s = step_s
        self._requests: dict[str, EngineRequest] = {}  # the first `num_slots` of them run, the others wait
        self._num_brought: dict[str, int] = {}
        self._aborted: set[str] = set()
        self._num_steps = 0
        self._num_generated = 0

    @property
    def has_work(self) -> bool:
        return bool(self._requests)

    @property
    def stats(self) -> EngineStats:
        num_running = min(len(self._requests), self._num_slots)
        return EngineStats(
            num_running=num_running,
            num_waiting=len(self._requests) - num_running,
            num_free_slots=self._num_slots - num_running,
            num_slots=self._num_slots,
            num_generated_tokens=self._num_generated,
            num_steps=self._num_steps,
        )

    def add_request(self, request: EngineRequest) -> None:
        if len(request.prompt_token_ids) > 64:
            raise InvalidInputError("The prompt is too long.", field="prompt_token_ids")
        self._requests[request.request_id] = request
        self._num_brought[request.request_id] = 0

    def abort(self, request_id: str) -> None:
        if request_id in self._requests:
            self._aborted.add(request_id)

    def check_integrity(self) -> None:
        if self._num_brought.keys() != self._requests.keys():
            raise EngineError("The books don't balance.")

    def step(self) -> list[TokenOutput]:
        time.sleep(self._step_s)
        self._num_steps += 1
        ended = [TokenOutput(request_id, finish_reason="abort") for request_id in self._aborted]
        self._aborted.clear()
        for output in ended:
            self._end(output.request_id)
        return ended + [self._next(request) for request in list(self._requests.values())[: self._num_slots]]

    def _next(self, request: EngineRequest) -> TokenOutput:
        num_brought = self._num_brought[request.request_id] = self._num_brought[request.request_id] + 1
        if num_brought > 2 and request.owner in MISBEHAVIOURS:
            _misbehave(request.owner)
        self._num_generated += 1
        token_id = request.prompt_token_ids[(num_brought - 1) % len(request.prompt_token_ids)]
        is_last = num_brought == request.params.max_new_tokens
        if is_last:
            self._end(request.request_id)
        return TokenOutput(request.request_id, (token_id,), finish_reason="length" if is_last else None)

    def _end(self, request_id: str) -> None:
        del self._requests[request_id], self._num_brought[request_id]


def _misbehave(how: str) -> None:
    if how == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "hang":
        time.sleep(3600)
    raise RuntimeError("A step went wrong.")


def run() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--load-s", type=float, default=0.0, help="seconds that loading takes, in ten stages")
    parser.add_argument("--step-s", type=float, default=0.0, help="seconds that a step takes")
    parser.add_argument("--num-slots", type=int, default=64)
    parser.add_argument("--fail", choices=["format", "download", "unexpected", "crash", "hang"])
    parser.add_argument("--fail-once", metavar="FILE", help="fail only while this file is missing, and make it")
    options, rest = parser.parse_known_args()

    def load(worker_options: WorkerOptions, report: Callable[[FromWorker], None]) -> tuple[EchoEngine, ModelInfo]:
        locate(worker_options, report)
        for i in range(10):
            report(Loading("loading", "Reading weights", 10.0 * i))
            time.sleep(options.load_s / 10)
        if options.fail and not (options.fail_once and os.path.exists(options.fail_once)):
            if options.fail_once:
                open(options.fail_once, "x").close()
            _fail(options.fail)
        return EchoEngine(options.num_slots, options.step_s), fake_model_info(
            name=worker_options.model, num_slots=64, eos_token_id=None
        )

    return main(rest, load)


def _fail(how: str) -> None:
    match how:
        case "format":
            raise ModelFormatError("model.safetensors is truncated.")
        case "download":
            raise ModelDownloadError("The hub can't be reached.")
        case "unexpected":
            raise RuntimeError("out of memory")
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "hang":
            time.sleep(3600)


if __name__ == "__main__":
    leave(run())
