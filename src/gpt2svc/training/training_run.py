"""The loop: batch → loss → clip → AdamW, with the validation loss, checkpoints and stops between steps."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from gpt2svc.errors import InvalidInputError
from gpt2svc.training.checkpoint import Progress, remove_old, state_files, write_file, write_folder
from gpt2svc.training.display import Display
from gpt2svc.training.model_files import model_folder_files, weights_file
from gpt2svc.training.network import TrainableGpt2
from gpt2svc.training.optimizer import learning_rate_at
from gpt2svc.training.packing import PackedBatch, Packing, pack
from gpt2svc.training.preparation import Preparation
from gpt2svc.training.recipe import Recipe
from gpt2svc.training.stop_signal import StopSignal
from gpt2svc.training.training_log import TrainingLog

SPEED_WINDOW_STEPS = 20


@dataclass(frozen=True)
class Outcome:
    """How a run ended. `signal_number` is set where a signal stopped it; then it can be resumed."""

    output_dir: Path
    progress: Progress
    num_steps: int
    signal_number: int | None = None


class TrainingRun:
    """Steps from `progress` to the recipe's last one; the model and the optimizer are already in place."""

    def __init__(
        self,
        recipe: Recipe,
        output_dir: Path,
        display: Display,
        preparation: Preparation,
        model: TrainableGpt2,
        optimizer: torch.optim.AdamW,
        progress: Progress,
        fixed_part: dict[str, Any],
        device: torch.device,
    ) -> None:
        self._recipe = recipe
        self._output_dir = output_dir
        self._display = display
        self._preparation = preparation
        self._model = model
        self._optimizer = optimizer
        self._progress = progress
        self._fixed_part = fixed_part
        self._device = device
        settings = recipe.optimisation
        budget = settings.per_device_train_batch_size * settings.max_length
        self._packing = Packing(preparation.training, budget, settings.max_length, settings.join_share, settings.seed)
        self._epoch = self._packing.epoch(progress.epoch)
        self._num_steps = settings.max_steps or self._count_steps()
        self._log = TrainingLog(output_dir, progress.step)
        self._saved_step = progress.step

    def loop(self) -> Outcome:
        """Raises InvalidInputError where the loss stops being a number, StorageError where a file can't be written."""
        reporting = self._recipe.reporting
        self._display.start(self._progress.step, self._num_steps)
        recent = deque([(time.monotonic(), self._progress.num_tokens)], maxlen=SPEED_WINDOW_STEPS + 1)
        with StopSignal() as stop:
            while self._progress.step < self._num_steps and not stop.is_received:
                started = time.monotonic()
                loss, num_tokens = self._step()
                now = time.monotonic()
                step = self._progress.step + 1
                self._progress = replace(
                    self._progress,
                    step=step,
                    num_tokens=self._progress.num_tokens + num_tokens,
                    seconds=self._progress.seconds + now - started,
                )
                recent.append((now, self._progress.num_tokens))
                speed = (recent[-1][1] - recent[0][1]) / max(recent[-1][0] - recent[0][0], 1e-9)
                self._display.step(step, loss, speed)
                is_last = step == self._num_steps
                if step % reporting.logging_steps == 0 or is_last:
                    self._log.add(
                        step=step,
                        loss=round(loss, 5),
                        learning_rate=self._optimizer.param_groups[0]["lr"],
                        num_tokens=self._progress.num_tokens,
                        tokens_per_second=round(speed, 1),
                    )
                if step % reporting.eval_steps == 0 or is_last:
                    self._evaluate()
                if step % reporting.save_steps == 0 or is_last:
                    self._save()
            if stop.is_received and self._saved_step != self._progress.step:
                self._save()
        return Outcome(self._output_dir, self._progress, self._num_steps, stop.number)

    def _step(self) -> tuple[float, int]:
        """Mean loss in nats and the number of target tokens of one optimizer step."""
        settings = self._recipe.optimisation
        rate = learning_rate_at(self._progress.step, self._num_steps, settings)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._model.train()
        batches = [self._next_batch() for _ in range(settings.gradient_accumulation_steps)]
        num_targets = sum(batch.num_targets for batch in batches)
        total = 0.0
        for batch in batches:
            loss = self._loss(batch)
            (loss / num_targets).backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        norm = torch.nn.utils.clip_grad_norm_(self._model.parameters(), settings.max_grad_norm)
        if not math.isfinite(total) or not bool(torch.isfinite(norm)):
            raise InvalidInputError(
                f"The loss became {total / num_targets} at step {self._progress.step + 1}: training can't go on. "
                "Lower learning_rate or raise warmup_steps; what was saved so far is intact.",
                field="learning_rate",
            )
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return total / num_targets, num_targets

    def _loss(self, batch: PackedBatch) -> torch.Tensor:
        with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._recipe.optimisation.bf16):
            return self._model.loss(
                torch.from_numpy(batch.token_ids).to(self._device),
                torch.from_numpy(batch.position_ids).to(self._device),
                torch.from_numpy(batch.targets).to(self._device),
                batch.lengths,
            )

    def _next_batch(self) -> PackedBatch:
        if self._progress.batch >= len(self._epoch):
            self._progress = replace(self._progress, epoch=self._progress.epoch + 1, batch=0)
            self._epoch = self._packing.epoch(self._progress.epoch)
        batch = pack(self._epoch[self._progress.batch])
        self._progress = replace(self._progress, batch=self._progress.batch + 1)
        return batch

    def _count_steps(self) -> int:
        """Steps that num_train_epochs make; epochs differ a little in length, since each is shuffled anew."""
        settings = self._recipe.optimisation
        whole = int(settings.num_train_epochs)
        num_batches = sum(len(self._packing.epoch(number)) for number in range(whole))
        if settings.num_train_epochs > whole:
            num_batches += round((settings.num_train_epochs - whole) * len(self._packing.epoch(whole)))
        return max(1, math.ceil(num_batches / settings.gradient_accumulation_steps))

    @torch.no_grad()
    def _evaluate(self) -> None:
        """A new best by validation loss becomes the model in the output folder; without validation text the newest."""
        validation = self._preparation.validation
        step = self._progress.step
        if validation is None:
            write_file(self._output_dir / "model.safetensors", weights_file(self._model))
            return
        self._model.eval()
        batches = [pack(pieces) for pieces in replace(self._packing, corpus=validation).in_order()]
        total = sum(self._loss(batch).item() for batch in batches)
        loss = total / sum(batch.num_targets for batch in batches)
        bits = total / math.log(2) / validation.num_bytes
        is_best = self._progress.best_loss is None or loss < self._progress.best_loss
        if is_best:
            self._progress = replace(self._progress, best_loss=loss, best_step=step)
            write_file(self._output_dir / "model.safetensors", weights_file(self._model))
        self._log.add(step=step, eval_loss=round(loss, 5), eval_bits_per_byte=round(bits, 5))
        self._log.save()
        best = "  (best)" if is_best else ""
        self._display.message(f"step {step}: validation loss {loss:.4f}, {bits:.4f} bits per byte{best}")

    def _save(self) -> None:
        files = model_folder_files(self._preparation.tokenizer, self._model)
        files |= state_files(self._optimizer, self._progress, self._fixed_part)
        write_folder(self._output_dir / f"checkpoint-{self._progress.step}", files)
        remove_old(self._output_dir, self._recipe.reporting.save_total_limit)
        self._log.save()
        self._saved_step = self._progress.step
