"""The settings of a training run, by the Trainer's names where it has them; flags and files are made from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gpt2svc.training.option import option

DATA: Final = "Data"
MODEL: Final = "Model"
STEPS: Final = "Training"
RUN: Final = "Run"

TASKS: Final = ("lm", "classification", "multiple-choice")
SCHEDULES: Final = ("linear", "cosine", "constant", "constant_with_warmup")


@dataclass(frozen=True)
class Source:
    """One JSONL file. `repeats` is how often an epoch visits each row (2.5: twice, and a random half a third time)."""

    path: Path
    repeats: float = 1.0
    exclude: tuple[str, ...] = ()  # regular expressions; a row with a match in any of its texts is left out
    max_duplicates: int = 0  # rows that open with the same words; 0 keeps all
    is_validated: bool = True  # takes part in the validation split


@dataclass(frozen=True)
class TrainingSettings:
    """Checked by `check_settings`. None: the kind of run decides, see `with_defaults`."""

    task: str = option("lm", "lm, classification or multiple-choice.", DATA)
    validation_data: tuple[Path, ...] = option((), "JSONL to validate on, instead of a part of --data.", DATA)
    validation_split: float | None = option(
        None, "Share of the rows held out (0.2 from scratch, 0.1 for fine-tuning; 0: none).", DATA
    )
    assistant_only_loss: bool | None = option(
        None, "Learn replies and completions only, not what they answer (on for fine-tuning).", DATA
    )
    packing: bool | None = option(None, "Fill each batch with whole documents that don't see each other (on).", DATA)
    group_by_length: bool = option(True, "Without packing: rows of like length share a batch.", DATA)
    join_share: float = option(0.0, "Share of conversations that go straight on with the next one.", DATA)

    model: str | None = option(None, "What to fine-tune: a folder, `starter`, or a pulled model's name.", MODEL)
    from_scratch: bool = option(False, "A new model with random weights.", MODEL)
    vocab: Path | None = option(
        None, "From scratch: vocab.json of the tokens; beside it merges.txt where it is a BPE.", MODEL
    )
    vocab_size: int = option(8192, "From scratch without --vocab: tokens of the BPE learned from the text.", MODEL)
    n_layer: int | None = option(None, "Layers of a new model (6).", MODEL)
    n_head: int | None = option(None, "Heads of a new model (8).", MODEL)
    n_embd: int | None = option(None, "Width of a new model (384).", MODEL)
    n_positions: int | None = option(None, "Window of a new model, in tokens (1024).", MODEL)
    dropout: float | None = option(None, "Dropout everywhere (the model's own; 0 from scratch).", MODEL)
    num_labels: int | None = option(None, "Classes (as many as the data has).", MODEL)

    num_train_epochs: float | None = option(None, "Passes over the data (3; 20 from scratch).", STEPS)
    max_steps: int = option(0, "Optimizer steps; wins over --num-train-epochs.", STEPS)
    per_device_train_batch_size: int | None = option(
        None, "Rows a batch [2; 8 from scratch]; packed: that many times --max-length tokens.", STEPS
    )
    per_device_eval_batch_size: int = option(8, "The same for validation.", STEPS)
    gradient_accumulation_steps: int = option(1, "Batches an optimizer step.", STEPS)
    max_length: int | None = option(
        None, "Longest piece, in tokens (512; 1024 from scratch; at most the window).", STEPS
    )
    learning_rate: float = option(5e-5, "Peak of the schedule.", STEPS)
    lr_scheduler_type: str | None = option(None, "linear, cosine or constant (linear; cosine from scratch).", STEPS)
    min_lr_rate: float = option(0.0, "Where a cosine ends, as a share of --learning-rate.", STEPS)
    warmup_steps: float = option(0.0, "Steps of linear warm-up; less than 1: a share of the run.", STEPS)
    weight_decay: float = option(0.0, "AdamW's, on matrices and embeddings.", STEPS)
    adam_beta1: float = option(0.9, "AdamW's first decay.", STEPS)
    adam_beta2: float = option(0.999, "AdamW's second decay.", STEPS)
    max_grad_norm: float = option(1.0, "Gradients are clipped to this norm.", STEPS)
    bf16: bool = option(False, "Mixed precision in bfloat16.", STEPS)
    fp16: bool = option(False, "Mixed precision in float16, on a GPU.", STEPS)
    gradient_checkpointing: bool = option(False, "Less memory, about a third slower.", STEPS)
    early_stopping_patience: int | None = option(
        None, "Stop after so many validations without a better loss (3 from scratch; 0: never).", STEPS
    )
    seed: int = option(42, "Of weights, order and dropout.", STEPS)

    device: str = option("auto", "auto, cpu or cuda.", RUN)
    eval_steps: int | None = option(None, "Steps between validations (an epoch, at most 500).", RUN)
    save_steps: int = option(500, "Steps between checkpoints.", RUN)
    save_total_limit: int = option(2, "Checkpoints kept.", RUN)
    logging_steps: int = option(100, "Steps between lines of the log.", RUN)


REPORTING: Final = ("save_steps", "save_total_limit", "logging_steps", "device")  # may change when a run is resumed
LENGTH: Final = ("max_steps", "num_train_epochs", "early_stopping_patience")  # may too, on purpose

_FINE_TUNING: Final[Mapping[str, Any]] = {
    "validation_split": 0.1,
    "assistant_only_loss": True,
    "num_train_epochs": 3.0,
    "per_device_train_batch_size": 2,
    "lr_scheduler_type": "linear",
    "early_stopping_patience": 0,
}
_FROM_SCRATCH: Final[Mapping[str, Any]] = {
    "validation_split": 0.2,
    "assistant_only_loss": False,
    "num_train_epochs": 20.0,
    "per_device_train_batch_size": 8,
    "max_length": 1024,
    "lr_scheduler_type": "cosine",
    "early_stopping_patience": 3,
    "n_layer": 6,
    "n_head": 8,
    "n_embd": 384,
    "n_positions": 1024,
    "dropout": 0.0,
}


def with_defaults(settings: TrainingSettings) -> TrainingSettings:
    """What is still None filled in, as fine-tuning or training from scratch wants it.

    What the model or the data decide stays None: `eval_steps`, and a fine-tune's `max_length` and `dropout`.
    """
    defaults = dict(_FROM_SCRATCH if settings.from_scratch else _FINE_TUNING)
    if settings.from_scratch and settings.n_positions is not None:
        defaults["max_length"] = min(1024, settings.n_positions)
    missing = {name: value for name, value in defaults.items() if getattr(settings, name) is None}
    return dataclasses.replace(settings, **missing)
