"""A stateless completion in progress: all its sequences at once, gone as soon as nobody wants them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from gpt2svc.completions.prompts import EncodedPrompt
from gpt2svc.completions.sequence import Piece, SequencePlan, SequenceRun
from gpt2svc.errors import Gpt2svcError
from gpt2svc.generation.admission import Permit
from gpt2svc.models.tokenizer import Tokenizer


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

    def __init__(self, facts: CompletionFacts, on_end: Callable[["Completion"], None]) -> None:
        self.facts = facts
        self._on_end = on_end
        self._pieces: asyncio.Queue[Piece | Exception] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._num_open = 0

    def start(self, runs: Sequence[SequenceRun], permits: Sequence[Permit]) -> None:
        """From here on each of `permits` is its run's, and released when that is over."""
        for run, permit in zip(runs, permits, strict=True):
            self._launch(run, permit)

    def _launch(self, run: SequenceRun, permit: Permit) -> None:
        task = asyncio.create_task(self._read(run))
        self._tasks.add(task)
        self._num_open += 1

        # NOTE: not in a `finally` of the task, which a task that is cancelled before its first step never enters.
        def on_done(done: asyncio.Task[None]) -> None:
            permit.release()
            self._tasks.discard(done)
            if not self._tasks:
                self._on_end(self)

        task.add_done_callback(on_done)

    async def _read(self, run: SequenceRun) -> None:
        try:
            async for piece in run.pieces():
                self._pieces.put_nowait(piece)
        except Exception as error:
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
