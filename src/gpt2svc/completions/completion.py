"""A stateless completion in progress: all its sequences at once, gone as soon as nobody wants them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from gpt2svc.completions.prompts import EncodedPrompt
from gpt2svc.completions.sequence import Piece, SequencePlan, SequenceRun
from gpt2svc.errors import DeadlineExceededError, Gpt2svcError
from gpt2svc.generation.admission import Permit
from gpt2svc.generation.reply_meter import ReplyMeter
from gpt2svc.metrics import Metrics
from gpt2svc.models.tokenizer import Tokenizer
from gpt2svc.request_context import current_deadline


@dataclass(frozen=True, slots=True)
class CompletionFacts:
    """What is known before the first token."""

    model: str
    revision: str
    tokenizer: Tokenizer
    prompts: tuple[EncodedPrompt, ...]
    plans: tuple[SequencePlan, ...]  # prompt by prompt

    @property
    def num_prompt_tokens(self) -> int:
        return sum(len(prompt.token_ids) for prompt in self.prompts)


class Completion:
    """`start` it, read `pieces` once, and `close` it however that ends: closing stops every sequence at once."""

    def __init__(self, facts: CompletionFacts, on_end: Callable[["Completion"], None], metrics: Metrics) -> None:
        self.facts = facts
        self._metrics = metrics
        self._deadline_timer: asyncio.TimerHandle | None = None
        self._on_end = on_end
        self._pieces: asyncio.Queue[Piece | Exception] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._num_open = 0

    def start(self, runs: Sequence[SequenceRun], permits: Sequence[Permit]) -> None:
        """From here on each of `permits` is its run's, and released when that is over."""
        deadline = current_deadline()
        if deadline is not None:
            remaining_s = max(0.0, deadline - time.monotonic())
            self._deadline_timer = asyncio.get_running_loop().call_later(remaining_s, self._expire)
        for run, permit in zip(runs, permits, strict=True):
            self._launch(run, permit)

    def _expire(self) -> None:
        self.end_with(DeadlineExceededError("The time that the request gave the text (X-Request-Timeout) is over."))

    def _launch(self, run: SequenceRun, permit: Permit) -> None:
        meter = ReplyMeter(
            self._metrics,
            identifier=run.plan.request.request_id,
            owner=run.plan.request.owner,
            model=self.facts.model,
            num_prompt_tokens=len(run.plan.request.prompt_token_ids),
        )
        task = asyncio.create_task(self._read(run, meter))
        self._tasks.add(task)
        self._num_open += run.plan.request.params.num_return_sequences

        # NOTE: not in a `finally` of the task, which a task that is cancelled before its first step never enters.
        def on_done(done: asyncio.Task[None]) -> None:
            permit.release()
            if done.cancelled():
                meter.end("cancelled", "abort")
            self._tasks.discard(done)
            if not self._tasks:
                if self._deadline_timer is not None:
                    self._deadline_timer.cancel()
                self._on_end(self)

        task.add_done_callback(on_done)

    async def _read(self, run: SequenceRun, meter: ReplyMeter) -> None:
        num_sampled = 0
        try:
            async for piece in run.pieces():
                is_other = piece.index != run.plan.index  # result of its beam search
                meter.add_tokens(piece.num_sampled - (0 if is_other else num_sampled), piece.num_cached)
                num_sampled = num_sampled if is_other else piece.num_sampled
                self._pieces.put_nowait(piece)
                if piece.finish_reason is not None:
                    meter.end("completed", piece.finish_reason)
        except Exception as error:
            meter.end("failed", "error", error.code if isinstance(error, Gpt2svcError) else Gpt2svcError.code)
            self._pieces.put_nowait(error)

    async def pieces(self) -> AsyncIterator[Piece]:
        """Of all sequences, as they come, up to the last one's end. Raises what ended one of them."""
        try:
            while self._num_open:
                piece = await self._pieces.get()
                if isinstance(piece, Exception):
                    raise piece
                self._num_open -= piece.finish_reason is not None
                yield piece
        finally:
            self.close()

    def end_with(self, error: Gpt2svcError) -> None:
        """Stop, and have the reader told why."""
        if self._tasks:
            self._pieces.put_nowait(error)
        self.close()

    def close(self) -> None:
        """Stop what is still running; again is harmless."""
        for task in self._tasks:
            task.cancel()
