"""What a person sees of a training run: a progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Display(Protocol):
    def start(self, step: int, num_steps: int) -> None: ...

    def step(self, step: int, loss: float, tokens_per_second: float) -> None: ...

    def message(self, text: str) -> None: ...


class SilentDisplay:
    """For tests and for callers that read the training log instead."""

    def start(self, step: int, num_steps: int) -> None:
        pass

    def step(self, step: int, loss: float, tokens_per_second: float) -> None:
        pass

    def message(self, text: str) -> None:
        pass


class ConsoleDisplay:
    """Step, loss, tokens/s and time left. Where nobody watches, a line every `logging_steps`."""

    def __init__(self, console: Console, logging_steps: int) -> None:
        self._console = console
        self._logging_steps = logging_steps
        self._num_steps = 0
        self._progress = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}"),
            TextColumn("{task.fields[speed]} tok/s"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            refresh_per_second=4,
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def start(self, step: int, num_steps: int) -> None:
        self._num_steps = num_steps
        self._task = self._progress.add_task("training", total=num_steps, completed=step, loss="–", speed="–")

    def step(self, step: int, loss: float, tokens_per_second: float) -> None:
        if self._console.is_terminal:
            self._progress.update(self._task, completed=step, loss=f"{loss:.3f}", speed=f"{tokens_per_second:,.0f}")
        elif step % self._logging_steps == 0 or step == self._num_steps:
            self.message(f"step {step}/{self._num_steps}  loss {loss:.4f}  {tokens_per_second:,.0f} tok/s")

    def message(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)
