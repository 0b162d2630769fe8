"""What a person sees of a training run: a progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn


@dataclass(frozen=True)
class StepReport:
    step: int
    loss: float  # nats; NaN before the first
    tokens_per_second: float
    remaining_s: float


class Display(Protocol):
    def start(self, step: int, num_steps: int) -> None: ...

    def step(self, report: StepReport) -> None: ...

    def message(self, text: str) -> None: ...


class SilentDisplay:
    """For tests, for callers that read the metrics file instead, and for all processes but the first."""

    def start(self, step: int, num_steps: int) -> None:
        pass

    def step(self, report: StepReport) -> None:
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
            TextColumn("{task.fields[remaining]} left"),
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
        self._task = self._progress.add_task(
            "training", total=num_steps, completed=step, loss="–", speed="–", remaining="–"
        )

    def step(self, report: StepReport) -> None:
        loss = "–" if math.isnan(report.loss) else f"{report.loss:.4f}"
        speed, remaining = f"{report.tokens_per_second:,.0f}", duration(report.remaining_s)
        if self._console.is_terminal:
            self._progress.update(self._task, completed=report.step, loss=loss, speed=speed, remaining=remaining)
        elif report.step == 1 or report.step % self._logging_steps == 0 or report.step == self._num_steps:
            self.message(f"step {report.step}/{self._num_steps}  loss {loss}  {speed} tok/s  {remaining} left")

    def message(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """`1:02:03`, or `2:03` under an hour."""
    whole = max(0, round(seconds))
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
