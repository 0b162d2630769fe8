"""One training run from its settings to its output folder: see run_files.py for what it leaves there."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpt2svc.errors import InvalidInputError
from gpt2svc.training.settings import Source, TrainingSettings, with_defaults
from gpt2svc.training.settings_check import check_settings

if TYPE_CHECKING:
    from gpt2svc.training.display import Display
    from gpt2svc.training.preparation import Preparation
    from gpt2svc.training.run_state import RunState

EXTRA = ("accelerate", "tensorboard", "matplotlib", "yaml")
DEFAULT_EVAL_STEPS = 500


@dataclass(frozen=True)
class Outcome:
    """How a run ended. `signal_number` is set where a signal stopped it before its end; then it can be resumed."""

    output_dir: Path
    step: int
    num_steps: int
    num_tokens: int
    best_loss: float | None
    best_step: int | None
    signal_number: int | None = None


def train(
    settings: TrainingSettings, sources: Sequence[Source], output_dir: Path, display: Display, *, resume: bool = False
) -> Outcome:
    """Trains until the last step, an early stop or a signal. `settings.model` is the path of a folder.

    Raises InvalidInputError, CorpusError, ModelError or StorageError, before anything is written where settings, data,
    model or output folder can't be used.
    """
    check_extra()
    settings = with_defaults(settings)
    check_settings(settings, sources)
    from gpt2svc.training import run_files
    from gpt2svc.training.checkpoints import checkpoint_folders
    from gpt2svc.training.preparation import prepare
    from gpt2svc.training.published_folder import recover

    is_first = int(os.environ.get("RANK", "0")) == 0
    checkpoint = None
    if resume:
        if is_first and output_dir.is_dir():
            recover(output_dir)
        checkpoint = next(reversed(checkpoint_folders(output_dir)), None)
    elif is_first:
        run_files.check_output_dir(output_dir)
    _check_device(settings)
    preparation = prepare(settings, sources, checkpoint, display)
    num_processes = int(os.environ.get("WORLD_SIZE", "1"))
    fixed = run_files.fixed_part(settings, sources, preparation.digests, num_processes)
    return _run(settings, sources, output_dir, display, preparation, checkpoint, fixed)


def check_extra() -> None:
    """Raises InvalidInputError where the packages of the extra `train` are missing."""
    missing = [name for name in EXTRA if find_spec(name) is None]
    if missing:
        raise InvalidInputError(f"Training needs {', '.join(missing)}: pip install 'gpt2svc[train]'")


def _run(
    settings: TrainingSettings,
    sources: Sequence[Source],
    output_dir: Path,
    display: Display,
    preparation: Preparation,
    checkpoint: Path | None,
    fixed: dict[str, Any],
) -> Outcome:
    import torch
    from transformers import PrinterCallback
    from transformers.utils import logging

    from gpt2svc.training.base_model import build_model
    from gpt2svc.training.batch_dataset import BatchDataset
    from gpt2svc.training.loss_plot import plot_losses
    from gpt2svc.training.metrics_log import MetricsLog
    from gpt2svc.training.model_writer import ModelWriter
    from gpt2svc.training.run_callback import RunCallback
    from gpt2svc.training.run_state import RunState
    from gpt2svc.training.stop_signal import StopSignal
    from gpt2svc.training.trainer import TaskTrainer

    # What transformers has to say is for its own commands: bars of loading weights, hints about heads to be trained.
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    state = RunState() if checkpoint is None else RunState.load(checkpoint, fixed)
    torch.manual_seed(settings.seed)
    num_processes = fixed["processes"]
    accumulated = settings.gradient_accumulation_steps * num_processes
    dataset = BatchDataset(
        preparation.task.training,
        num_epochs=settings.num_train_epochs or 1.0,
        num_batches=settings.max_steps * accumulated or None,
    )
    arguments = _arguments(
        settings, output_dir, math.ceil(dataset.epoch_length / accumulated), preparation, num_processes
    )
    model = build_model(preparation.base, settings, preparation.labels)
    is_first = arguments.process_index == 0
    if is_first:
        _make_output_dir(output_dir, settings, sources, model.num_parameters())
    writer = ModelWriter(preparation.base.architecture(settings.task), preparation.base.tokenizer_files)
    trainer = TaskTrainer(
        preparation.task, writer, state, fixed, settings.early_stopping_patience or 0,
        model=model, args=arguments, train_dataset=dataset, data_collator=_unused,
        eval_dataset=dataset,  # never read: the Trainer wants one, and TaskTrainer asks its task
    )  # fmt: skip
    step = 0 if checkpoint is None else int(checkpoint.name.rpartition("-")[2])
    log = MetricsLog(output_dir, step) if is_first else None
    if checkpoint is not None:
        display.message(f"Resumed from {checkpoint} after step {step}.")
    try:
        with StopSignal() as stop:
            callback = RunCallback(trainer, display, log, stop)
            trainer.remove_callback(PrinterCallback)  # it prints every log line as a dictionary
            trainer.add_callback(callback)
            trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
            if not callback.is_stopped:
                trainer.publish_final()
        if log is not None:
            plot_losses(log.records, output_dir)
    finally:
        if log is not None:
            log.close()
    return _outcome(trainer.state, state, output_dir, stop.number if callback.is_stopped else None)


def _make_output_dir(
    output_dir: Path, settings: TrainingSettings, sources: Sequence[Source], num_parameters: int
) -> None:
    """With what was asked for in it. Raises StorageFullError where the disk has no room for the run."""
    from gpt2svc.training import run_files

    parent = next(folder for folder in (output_dir, *output_dir.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(parent).free
    run_files.check_space(output_dir, num_parameters, settings.save_total_limit, free)
    run_files.create_output_dir(output_dir)
    run_files.save_run(output_dir, settings, sources)


def _outcome(trained: Any, state: RunState, output_dir: Path, signal_number: int | None) -> Outcome:
    return Outcome(
        output_dir, trained.global_step, trained.max_steps, state.num_tokens, state.best_loss, state.best_step,
        signal_number,
    )  # fmt: skip


def _checkpointing(arguments: type[Any], is_wanted: bool) -> dict[str, Any]:
    """By the name that this transformers has for it: later ones renamed it, and warn of the old name."""
    name = "activation_checkpointing"
    is_known = any(field.name == name for field in fields(arguments))
    return {name if is_known else "gradient_checkpointing": is_wanted}


def _arguments(
    settings: TrainingSettings, output_dir: Path, epoch_steps: int, preparation: Preparation, num_processes: int
) -> Any:
    from transformers import TrainingArguments

    schedule = settings.lr_scheduler_type or "linear"
    has_validation = preparation.task.validation is not None
    is_floored = schedule == "cosine" and settings.min_lr_rate > 0
    arguments = TrainingArguments(
        output_dir=str(output_dir),
        num_train_epochs=1,  # BatchDataset holds all epochs one after the other
        per_device_train_batch_size=1,  # and each of its items is a batch
        gradient_accumulation_steps=settings.gradient_accumulation_steps,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine_with_min_lr" if is_floored else schedule,
        lr_scheduler_kwargs={"min_lr_rate": settings.min_lr_rate} if is_floored else None,
        warmup_steps=settings.warmup_steps,
        weight_decay=settings.weight_decay,
        adam_beta1=settings.adam_beta1,
        adam_beta2=settings.adam_beta2,
        max_grad_norm=settings.max_grad_norm,
        bf16=settings.bf16,
        fp16=settings.fp16,
        **_checkpointing(TrainingArguments, settings.gradient_checkpointing),
        seed=settings.seed,
        use_cpu=device_kind(settings.device) == "cpu",
        ddp_backend="gloo" if num_processes > 1 and device_kind(settings.device) == "cpu" else None,
        ddp_find_unused_parameters=False,
        eval_strategy="steps" if has_validation else "no",
        eval_steps=settings.eval_steps or min(DEFAULT_EVAL_STEPS, epoch_steps),
        save_strategy="steps",
        save_steps=settings.save_steps,
        save_total_limit=settings.save_total_limit,
        logging_steps=settings.logging_steps,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
    )
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # several devices are torchrun's business, not DataParallel's
    return arguments


def device_kind(name: str) -> str:
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


def _check_device(settings: TrainingSettings) -> None:
    import torch

    kind = device_kind(settings.device)
    if kind not in ("cpu", "cuda") or (kind == "cuda" and not torch.cuda.is_available()):
        raise InvalidInputError(
            f"This machine has no device {settings.device!r}: --device is auto, cpu or cuda (CUDA_VISIBLE_DEVICES says "
            "which).",
            field="device",
        )
    if settings.fp16 and kind == "cpu":
        raise InvalidInputError("--fp16 needs a GPU; on a CPU use --bf16.", field="fp16")
    if settings.bf16 and kind == "cuda" and not torch.cuda.is_bf16_supported():
        raise InvalidInputError("This GPU has no bfloat16: use --fp16.", field="bf16")


def _unused(batch: Any) -> Any:
    return batch
