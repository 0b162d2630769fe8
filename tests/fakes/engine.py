"""An engine without a model: it says what a test tells it to, at a pace the test sets, and fails on demand."""

import asyncio
import struct
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from itertools import takewhile

from gpt2svc.engine.types import (
    EngineRequest,
    EngineStats,
    FinishReason,
    TokenOutput,
)
from gpt2svc.errors import Gpt2svcError, NotFoundError, UnavailableError, WorkerCrashedError
from gpt2svc.models.task_head import TaskHead
from gpt2svc.models.tokenizer import Tokenizer
from gpt2svc.worker.protocol import EngineState, EngineStatus
from tests.fakes.engine_outputs import fake_hypotheses, fake_logprobs, fake_next_token, fake_prompt_logprobs
from tests.fakes.model_info import fake_model_info
from tests.fakes.tokenizer import tiny_tokenizer

"""An engine without a model: it says what a test tells it to, at a pace the test sets, and fails on demand."""


class ScriptedEngine:
    """A real EngineClient within the event loop.

    Without a script it echoes: a reply is its prompt's tokens. A reply ends with the first of the request's stop
    tokens (finish_reason "stop"; without stop tokens, the bare end), or at `max_new_tokens` ("length").

    - `score(values, when=…)` scripts the vectors of prompts that are pooled, or what its `task_head` makes of them.
    - `say(reply, when=…)` scripts replies; `pace_s` waits before each step, `tokens_per_step` groups tokens.
    - `hold_at(n)` stops each request after n tokens (0: before the first) until `release()`.
    - `crash()` ends every running request with WorkerCrashedError; `recover()` makes the engine ready again.
    - `set_status("loading", …)` holds requests until `recover()`; with `has_tokenizer=False` the tokenizer is unknown.
    - `fail(reason)` makes it unavailable: waiting and new requests raise UnavailableError.
    - `requests`, `aborted` and `active` tell what happened.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        model: str = "tiny",
        n_positions: int = 256,
        revision: str = "0123456789ab",
        pace_s: float = 0.0,
        tokens_per_step: int = 1,
    ) -> None:
        self.pace_s = pace_s
        self.tokens_per_step = tokens_per_step
        self.requests: list[EngineRequest] = []  # every one submitted, in order
        self.aborted: list[str] = []  # ids, in order: by abort() or by leaving the iterator early
        self.active: dict[str, EngineRequest] = {}  # submitted and not ended
        self.task_head: TaskHead | None = None
        self._scores: dict[str, tuple[float, ...]] = {"": (1.0, 0.0, 0.0, 0.0)}
        self._tokenizer = tokenizer
        self._has_tokenizer = True
        self._encoder = tiny_tokenizer()
        self._script: list[tuple[str, tuple[int, ...]]] = []
        self._hold_at: int | None = None
        self._changed = asyncio.Event()
        self._cancelled: set[str] = set()
        self._num_crashes = 0
        self._num_generated = 0
        self._info = fake_model_info(name=model, revision=revision, n_positions=n_positions)
        self._state = EngineState(model=model, status="ready", info=self._info)

    # What tests say to it

    def say(self, reply: str | Sequence[int], *, when: str = "") -> None:
        """Reply with this text (or these token ids) to prompts that contain `when`; the latest match wins."""
        ids = self.encode(reply) if isinstance(reply, str) else tuple(reply)
        self._script.append((when, ids))

    def score(self, values: Sequence[float], *, when: str = "") -> None:
        """What becomes of prompts that contain `when`, pooled or through the head; the longest match wins."""
        self._scores[when] = tuple(values)

    def hold_at(self, num_tokens: int) -> None:
        self._hold_at = num_tokens

    def release(self) -> None:
        self._hold_at = None
        self._notify()

    def crash(self) -> None:
        self._num_crashes += 1
        self._state = replace(self._state, status="restarting", num_restarts=self._state.num_restarts + 1)
        self._notify()

    def recover(self) -> None:
        self._has_tokenizer = True
        self.set_status("ready")

    def fail(self, reason: str) -> None:
        self._state = replace(self._state, status="failed", error=reason)
        self._notify()

    def set_status(
        self, status: EngineStatus, *, stage: str = "", percent: float | None = None, has_tokenizer: bool = True
    ) -> None:
        self._has_tokenizer = has_tokenizer
        self._state = replace(self._state, status=status, stage=stage, percent=percent, error=None)
        self._notify()

    async def wait_for_requests(self, count: int) -> None:
        """Until so many have been submitted in all."""
        while len(self.requests) < count:
            await self._wait_for_change()

    async def wait_until_idle(self) -> None:
        while self.active:
            await self._wait_for_change()

    def encode(self, text: str) -> tuple[int, ...]:
        return tuple(self._encoder.encode(text, add_special_tokens=False).ids)

    def decode(self, token_ids: Sequence[int]) -> str:
        return self._encoder.decode(list(token_ids), skip_special_tokens=False)

    # EngineClient

    @property
    def state(self) -> EngineState:
        stats = EngineStats(num_running=len(self.active), num_slots=8, num_generated_tokens=self._num_generated)
        return replace(self._state, stats=stats)

    @property
    def tokenizer(self) -> Tokenizer:
        self._require_folder()
        return self._tokenizer

    @property
    def n_positions(self) -> int:
        self._require_folder()
        return self._info.n_positions

    @property
    def revision(self) -> str:
        self._require_folder()
        return self._info.revision

    def abort(self, request_id: str) -> None:
        if request_id in self.active:
            self._cancelled.add(request_id)
            self._notify()

    async def submit(self, request: EngineRequest) -> AsyncIterator[TokenOutput]:
        self._require_usable()
        self.requests.append(request)
        self.active[request.request_id] = request
        self._notify()
        ended = False
        try:
            async for output in self._generate(request):
                ended = output.finish_reason is not None
                if output.finish_reason == "abort":
                    self.aborted.append(request.request_id)
                if ended:
                    self._forget(request.request_id)
                yield output
        except Gpt2svcError:
            ended = True
            raise
        finally:
            if not ended:
                self.aborted.append(request.request_id)
            self._forget(request.request_id)

    # How it works

    async def _generate(self, request: EngineRequest) -> AsyncIterator[TokenOutput]:
        token_ids, finish_reason = self._reply(request)
        if request.params.max_new_tokens == 0:
            token_ids, finish_reason = (), "length"
        while self._state.status != "ready":
            self._require_usable()
            if request.request_id in self._cancelled:
                yield TokenOutput(request.request_id, finish_reason="abort")
                return
            await self._wait_for_change()
        crashes_before = self._num_crashes
        num_sent = 0
        while True:
            await asyncio.sleep(self.pace_s)
            while self._hold_at is not None and num_sent >= self._hold_at and self._may_go_on(request, crashes_before):
                await self._wait_for_change()
            if self._num_crashes != crashes_before:
                raise WorkerCrashedError("The worker process died while it held the request.")
            if request.request_id in self._cancelled:
                yield TokenOutput(request.request_id, finish_reason="abort")
                return
            step = token_ids[num_sent : num_sent + self.tokens_per_step]
            num_sent += len(step)
            self._num_generated += len(step)
            is_last = num_sent >= len(token_ids)
            yield TokenOutput(
                request.request_id,
                token_ids=step,
                logprobs=fake_logprobs(step, request.params.logprobs),
                finish_reason=finish_reason if is_last else None,
                prompt_logprobs=fake_prompt_logprobs(request) if num_sent == len(step) else None,
                next_token=fake_next_token(request) if num_sent == len(step) else None,
                pooled=self._pooled(request) if is_last else None,
                hypotheses=fake_hypotheses(request, token_ids, finish_reason) if is_last else None,
            )
            if is_last:
                return

    def _pooled(self, request: EngineRequest) -> bytes | None:
        if request.pooling is None:
            return None
        prompt = self.decode(request.prompt_token_ids)
        values = self._scores[max((when for when in self._scores if when in prompt), key=len)]
        return struct.pack(f"<{len(values)}f", *values)

    def _may_go_on(self, request: EngineRequest, crashes_before: int) -> bool:
        return self._num_crashes == crashes_before and request.request_id not in self._cancelled

    def _reply(self, request: EngineRequest) -> tuple[tuple[int, ...], FinishReason]:
        prompt = self.decode(request.prompt_token_ids)
        reply = next((ids for when, ids in reversed(self._script) if when in prompt), request.prompt_token_ids)
        stops = request.params.stop_token_ids
        reply = (*takewhile(lambda token_id: token_id not in stops, reply), *stops[:1])
        length = request.params.max_new_tokens - request.num_reply_tokens
        if len(reply) > length:
            return reply[:length], "length"
        return reply, "stop"

    def _forget(self, request_id: str) -> None:
        self.active.pop(request_id, None)
        self._cancelled.discard(request_id)
        self._notify()

    def _require_folder(self) -> None:
        if not self._has_tokenizer:
            raise UnavailableError(f"{self._state.stage or 'Loading'} ({self._state.percent}%).", retry_after_s=1.0)

    def _require_usable(self) -> None:
        self._require_folder()
        if self._state.status in ("failed", "stopped"):
            raise UnavailableError(self._state.error or "The engine is stopped.")

    def _notify(self) -> None:
        # Whoever waits holds the old event; the next wait takes the new one.
        self._changed.set()
        self._changed = asyncio.Event()

    async def _wait_for_change(self) -> None:
        await self._changed.wait()


class ScriptedPool:
    """A real EnginePool of scripted engines: the first is the default. `refuse(model)` leaves it no place."""

    def __init__(self, *engines: ScriptedEngine) -> None:
        self._engines = {engine.state.model: engine for engine in engines}
        self._refused: set[str] = set()

    def refuse(self, model: str) -> None:
        self._refused.add(model)

    @property
    def default_model(self) -> str:
        return next(iter(self._engines))

    def get(self, model: str | None = None) -> ScriptedEngine:
        name = self.default_model if model is None else model
        if name not in self._engines:
            raise NotFoundError("model", name)
        if name in self._refused:
            raise UnavailableError("All places for models are taken by busy ones.", retry_after_s=5.0)
        return self._engines[name]

    def states(self) -> list[EngineState]:
        return [engine.state for engine in self._engines.values()]
