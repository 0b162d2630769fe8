"""Which settings can work: everything that is known before data or model are read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields

from gpt2svc.errors import InvalidInputError
from gpt2svc.training.option import flag
from gpt2svc.training.settings import SCHEDULES, TASKS, Source, TrainingSettings

_AT_LEAST = {
    "n_layer": 1, "n_head": 1, "n_embd": 1, "n_positions": 2, "vocab_size": 258, "num_labels": 2, "max_steps": 0,
    "per_device_train_batch_size": 1, "per_device_eval_batch_size": 1, "gradient_accumulation_steps": 1,
    "max_length": 2, "early_stopping_patience": 0, "seed": 0, "eval_steps": 1, "save_steps": 1, "save_total_limit": 1,
    "logging_steps": 1, "warmup_steps": 0, "weight_decay": 0,
}  # fmt: skip
_ABOVE_ZERO = ("num_train_epochs", "learning_rate", "max_grad_norm")
_SHARES = ("validation_split", "join_share", "dropout", "min_lr_rate", "adam_beta1", "adam_beta2")
_SHAPE = ("n_layer", "n_head", "n_embd", "n_positions", "vocab")
_MAX_SEED = 2**32 - 1  # numpy's


def check_settings(settings: TrainingSettings, sources: Sequence[Source]) -> None:
    """Raises InvalidInputError that names the first setting that can't work, and its limit."""
    if settings.from_scratch == (settings.model is not None):
        raise InvalidInputError(
            "Say what to train: either --model NAME, to fine-tune it, or --from-scratch.", field="model"
        )
    if not sources:
        raise InvalidInputError("No training data: give --data FILE or a --config with [[sources]].", field="data")
    _check_choice("task", settings.task, TASKS)
    if settings.lr_scheduler_type is not None:
        _check_choice("lr_scheduler_type", settings.lr_scheduler_type, SCHEDULES)
    _check_numbers(settings)
    for source in sources:
        if not (math.isfinite(source.repeats) and source.repeats > 0):
            raise InvalidInputError(f"{source.path}: repeats must be greater than 0.", field="data")
    if settings.bf16 and settings.fp16:
        raise InvalidInputError("--bf16 and --fp16 exclude each other.", field="fp16")
    _check_model(settings)


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise InvalidInputError(f"{flag(name)} must be one of {', '.join(choices)}, not {value!r}.", field=name)


def _check_numbers(settings: TrainingSettings) -> None:
    for item in fields(settings):
        value = getattr(settings, item.name)
        if isinstance(value, float) and not math.isfinite(value):
            raise InvalidInputError(f"{flag(item.name)} must be a finite number, not {value}.", field=item.name)
    for name, least in _AT_LEAST.items():
        value = getattr(settings, name)
        if value is not None and value < least:
            raise InvalidInputError(f"{flag(name)} must be at least {least}, not {value}.", field=name)
    for name in _ABOVE_ZERO:
        value = getattr(settings, name)
        if value is not None and value <= 0:
            raise InvalidInputError(f"{flag(name)} must be greater than 0, not {value}.", field=name)
    for name in _SHARES:
        value = getattr(settings, name)
        if value is not None and not 0 <= value < 1:
            raise InvalidInputError(f"{flag(name)} must be at least 0 and less than 1, not {value}.", field=name)
    if settings.seed > _MAX_SEED:
        raise InvalidInputError(f"--seed must be at most {_MAX_SEED}, not {settings.seed}.", field="seed")


def _check_model(settings: TrainingSettings) -> None:
    if not settings.from_scratch:
        for name in _SHAPE:
            if getattr(settings, name) is not None:
                raise InvalidInputError(
                    f"{flag(name)} belongs to --from-scratch: a fine-tuned model keeps its own shape and vocabulary.",
                    field=name,
                )
    if settings.n_embd is not None and settings.n_head is not None and settings.n_embd % settings.n_head:
        raise InvalidInputError(
            f"--n-embd ({settings.n_embd}) must be a multiple of --n-head ({settings.n_head}).", field="n_embd"
        )
    if settings.n_positions and settings.max_length and settings.max_length > settings.n_positions:
        raise InvalidInputError(
            f"--max-length ({settings.max_length}) can't exceed --n-positions ({settings.n_positions}).",
            field="max_length",
        )
    if settings.num_labels is not None and settings.task != "classification":
        raise InvalidInputError("--num-labels belongs to --task classification.", field="num_labels")
