"""TaskTrainer: transformers' Trainer with a task's batches, sums instead of means, and folders written as a whole."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import Trainer

from gpt2svc.errors import InvalidInputError
from gpt2svc.training.batch_dataset import BatchDataset
from gpt2svc.training.checkpoints import checkpoint_folders
from gpt2svc.training.model_writer import ModelWriter
from gpt2svc.training.published_folder import TEMPORARY_PREFIX, publish, storage_errors, write_file
from gpt2svc.training.run_state import RunState
from gpt2svc.training.task import Task

BEST = "best_model"
FINAL = "final_model"
REPORT = "validation.json"


class TaskTrainer(Trainer):
    """The Trainer's loop, optimiser, schedule, mixed precision and distribution. What differs:

    - each item of the dataset is a whole batch, and the loss is divided by all items of an optimizer step at once, over
      accumulation and processes, so that every token or example weighs the same;
    - validation sums over its batches and keeps the best model in best_model/;
    - checkpoints are written beside their place and renamed into it, and hold a `RunState`.
    """

    def __init__(
        self, task: Task, writer: ModelWriter, state: RunState, fixed: Mapping[str, Any], patience: int, **rest: Any
    ) -> None:
        super().__init__(**rest)
        self.task = task
        self.run_state = state
        self.last_loss = math.nan  # of the optimizer step under way
        self._writer = writer
        self._fixed = fixed
        self._patience = patience
        self._save_total_limit = self.args.save_total_limit or 1
        self.args.save_total_limit = None  # checkpoints are renamed after the Trainer is done: see `_save_checkpoint`
        self.model_accepts_loss_kwargs = True
        self.loss_is_scaled_for_ga = True

    @property
    def output_dir(self) -> Path:
        return Path(str(self.args.output_dir))

    @property
    def batches(self) -> BatchDataset:
        return cast(BatchDataset, self.train_dataset)

    def get_train_dataloader(self) -> Any:
        loader = DataLoader(self.batches, batch_size=1, shuffle=False, collate_fn=_only)
        return self.accelerator.prepare(loader)

    def floating_point_ops(self, inputs: Any) -> int:
        return 0  # an estimate that nothing here reads, and that walks over all parameters

    def _get_num_items_in_batch(self, batch_samples: Sequence[Any], device: torch.device) -> Tensor:
        count = torch.tensor(sum(self.task.num_items(batch) for batch in batch_samples), device=device)
        tokens = torch.tensor(sum(self.task.num_tokens(batch) for batch in batch_samples), device=device)
        if self.accelerator.num_processes > 1:
            count, tokens = self.accelerator.reduce(torch.stack([count, tokens])).unbind()
        self.run_state.num_tokens += int(tokens)
        self.last_loss = 0.0
        return count

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        # Gradients are averaged over the processes, while num_items_in_batch counts the items of all of them.
        return self.task.loss(model, inputs) / num_items_in_batch * self.accelerator.num_processes

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        self.last_loss += loss.item()
        if not math.isfinite(self.last_loss):
            self._stop_at(f"The loss became {self.last_loss}")
        return loss

    def _clip_grad_norm(self, model: Any) -> Any:
        norm = super()._clip_grad_norm(model)  # type: ignore[no-untyped-call]
        if not self.args.fp16 and not math.isfinite(float(norm)):  # float16's scaler skips such steps by itself
            self._stop_at(f"The gradient's norm became {float(norm)}")
        return norm

    def _stop_at(self, what: str) -> None:
        raise InvalidInputError(
            f"{what} at step {self.state.global_step + 1}: training can't go on. Lower --learning-rate or raise "
            "--warmup-steps; what was saved so far is intact.",
            field="learning_rate",
        )

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Measures on the validation rows, kept where they are the best so far."""
        metrics = self._measure()
        step = self.state.global_step
        loss, state = metrics["loss"], self.run_state
        is_best = math.isfinite(loss) and (state.best_loss is None or loss < state.best_loss)
        if is_best:
            state.best_loss, state.best_step, state.num_stale = loss, step, 0
            if self.is_world_process_zero():
                self._writer.publish(self.model, self.output_dir / BEST)
                report = json.dumps({"step": step, **metrics}, indent=2, ensure_ascii=False) + "\n"
                write_file(self.output_dir / REPORT, report.encode())
        else:
            state.num_stale += 1
            if 0 < self._patience <= state.num_stale:
                self.control.should_training_stop = True
        flat = {f"eval_{name}": value for name, value in metrics.items() if isinstance(value, int | float)}
        self.log(dict(flat))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, flat)
        return flat

    @torch.no_grad()
    def _measure(self) -> dict[str, Any]:
        batches = self.task.validation
        if batches is None:
            raise InvalidInputError("There is nothing to validate on.", field="validation_split")
        model = self.accelerator.unwrap_model(self.model)
        was_training = model.training
        model.eval()
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        described = batches.in_order()
        total: Tensor | None = None
        with self.accelerator.autocast():
            # Every process takes at least one batch, so that all of them have a total to add up.
            for index in range(rank, max(len(described), world), world):
                sums = self.task.sums(
                    model, self._prepare_inputs(dict(batches.collate(described[index % len(described)])))
                )
                sums = sums if index < len(described) else torch.zeros_like(sums)
                total = sums if total is None else total + sums
        model.train(was_training)
        if total is None:
            raise InvalidInputError("There is nothing to validate on.", field="validation_data")
        if world > 1:
            total = self.accelerator.reduce(total.to(self.args.device)).cpu()
        return self.task.metrics(total.tolist())

    def _get_output_dir(self, trial: Any) -> str:
        return str(self.output_dir / f"{TEMPORARY_PREFIX}checkpoint")

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        if self.args.should_save:
            folder = Path(output_dir) if output_dir else self.output_dir
            folder.mkdir(parents=True, exist_ok=True)
            self._writer.fill(self.model, folder)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        staging = Path(self._get_output_dir(trial))
        name = f"checkpoint-{self.state.global_step}"
        is_main = self.is_world_process_zero()
        with storage_errors(self.output_dir / name):
            if is_main:
                shutil.rmtree(staging, ignore_errors=True)
            self.accelerator.wait_for_everyone()
            try:
                super()._save_checkpoint(model, trial)
                self.accelerator.wait_for_everyone()
                if is_main:
                    self.run_state.unlogged_loss = float(self._tr_loss)
                    self.run_state.logged_step = self._globalstep_last_logged
                    self.run_state.save(staging / name, self._fixed)
                    publish(staging / name, self.output_dir / name)
                    for folder in checkpoint_folders(self.output_dir)[: -self._save_total_limit]:
                        shutil.rmtree(folder, ignore_errors=True)
            finally:
                if is_main:
                    shutil.rmtree(staging, ignore_errors=True)

    def publish_final(self) -> None:
        """final_model/, which is the best one too where there was no validation."""
        if self.is_world_process_zero():
            self._writer.publish(self.model, self.output_dir / FINAL)
            if self.run_state.best_loss is None:
                self._writer.publish(self.model, self.output_dir / BEST)


def _only(batch: Sequence[Any]) -> Any:
    return batch[0]
