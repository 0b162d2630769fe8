"""RunCallback: between steps it reports, logs, asks for the last validation and checkpoint, and heeds Ctrl-C."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import Any

import torch
from transformers import TrainerCallback

from gpt2svc.training.display import Display, StepReport
from gpt2svc.training.metrics_log import MetricsLog
from gpt2svc.training.stop_signal import StopSignal
from gpt2svc.training.trainer import TaskTrainer

SPEED_WINDOW_STEPS = 20
_LOGGED = ("loss", "grad_norm", "learning_rate")


class RunCallback(TrainerCallback):
    """`log` is None in all processes but the first."""

    def __init__(self, trainer: TaskTrainer, display: Display, log: MetricsLog | None, stop: StopSignal) -> None:
        self._trainer = trainer
        self._display = display
        self._log = log
        self._stop = stop
        self._recent: deque[tuple[float, int]] = deque(maxlen=SPEED_WINDOW_STEPS + 1)
        self._last_step = 0
        self.is_stopped = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        # The Trainer starts its sum of losses anew; the line of the log that was under way needs the old one.
        run = self._trainer.run_state
        if state.global_step:
            self._trainer._tr_loss += run.unlogged_loss
            self._trainer._globalstep_last_logged = run.logged_step
        self._display.start(state.global_step, state.max_steps)
        self._recent.append((time.monotonic(), run.num_tokens))

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        now = time.monotonic()
        run = self._trainer.run_state
        run.seconds += now - self._recent[-1][0]
        self._recent.append((now, run.num_tokens))
        num_steps = len(self._recent) - 1
        pace = max(now - self._recent[0][0], 1e-9)
        self._display.step(
            StepReport(
                step=state.global_step,
                loss=self._trainer.last_loss,
                tokens_per_second=self._tokens_per_second(),
                remaining_s=pace / num_steps * (state.max_steps - state.global_step),
            )
        )
        if self._is_asked_to_stop():
            self.is_stopped = state.global_step < state.max_steps
            control.should_save = control.should_training_stop = True
        if state.global_step >= state.max_steps:
            control.should_log = control.should_save = True
            control.should_evaluate = self._trainer.task.validation is not None

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any) -> None:
        given = logs or {}
        numbers = {name: value for name, value in given.items() if name in _LOGGED or name.startswith("eval_")}
        if self._log is None or not numbers:
            return
        place = state.global_step * args.gradient_accumulation_steps * args.world_size
        epoch = round(self._trainer.batches.epoch_at(place), 4)
        if "loss" in numbers:
            numbers["num_tokens"] = self._trainer.run_state.num_tokens
            numbers["tokens_per_second"] = round(self._tokens_per_second(), 1)
        self._log.add(step=state.global_step, epoch=epoch, **numbers)

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: Mapping[str, float] | None = None, **_: Any
    ) -> None:
        found = dict(metrics or {})
        shown = ", ".join(
            f"{label} {found[f'eval_{name}']:.4f}"
            for name, label in (
                ("perplexity", "perplexity"), ("bits_per_byte", "bits per byte"), ("accuracy", "accuracy"),
                ("macro_f1", "macro F1"),
            )
            if f"eval_{name}" in found
        )  # fmt: skip
        best = "  (best)" if self._trainer.run_state.best_step == state.global_step else ""
        self._display.message(f"step {state.global_step}: validation loss {found['eval_loss']:.4f}, {shown}{best}")
        if control.should_training_stop and state.global_step < state.max_steps:
            control.should_save = control.should_log = True
            self._display.message("No better validation loss for a while: stopping early.")
        # The time of a validation is no training time.
        self._recent.clear()
        self._recent.append((time.monotonic(), self._trainer.run_state.num_tokens))

    def _tokens_per_second(self) -> float:
        (start, before), (end, after) = self._recent[0], self._recent[-1]
        return (after - before) / max(end - start, 1e-9)

    def _is_asked_to_stop(self) -> bool:
        """The same answer in all processes: a signal may reach one of them a step before the others."""
        if self._trainer.accelerator.num_processes == 1:
            return self._stop.is_received
        asked = torch.tensor(int(self._stop.is_received), device=self._trainer.args.device)
        return bool(self._trainer.accelerator.reduce(asked) > 0)
