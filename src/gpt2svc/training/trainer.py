"""One training run from its recipe to its output folder.

output_dir/                        the best model so far: config.json, model.safetensors, tokenizer files
output_dir/recipe.json             what the run is made of, so that `--resume` needs no other flag
output_dir/checkpoint-N            the whole state after step N; the newest `save_total_limit` of them
output_dir/training_log.jsonl      loss, learning rate, tokens/s and validation loss by step
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

from gpt2svc.errors import InvalidInputError, StorageError
from gpt2svc.training import recipe as recipes
from gpt2svc.training.checkpoint import Progress, checkpoint_folders, load_state, write_file
from gpt2svc.training.display import Display
from gpt2svc.training.model_files import model_folder_files, read_weights
from gpt2svc.training.network import TrainableGpt2
from gpt2svc.training.optimizer import build_optimizer
from gpt2svc.training.preparation import prepare
from gpt2svc.training.training_run import Outcome, TrainingRun

RECIPE_FILE = "recipe.json"


def train(
    recipe: recipes.Recipe, output_dir: Path, display: Display, *, is_resumed: bool = False, device: str = "auto"
) -> Outcome:
    """Trains until the recipe's last step or a signal.

    Raises InvalidInputError, before anything is written, where the recipe, its text or the output folder can't be used,
    and StorageError where a file can't be written.
    """
    resumed_from = _resumed_from(output_dir, is_resumed)
    recipes.validate(recipe)
    chosen_device = _device(device)
    preparation = prepare(recipe, resumed_from, display)
    torch.manual_seed(recipe.optimisation.seed)
    model = TrainableGpt2(preparation.shape)
    if recipe.initial_model is not None:
        read_weights(recipe.initial_model, model)
    model.to(chosen_device)
    optimizer = build_optimizer(model, recipe.optimisation)
    fixed_part = {**recipe.fixed_part(), "digests": preparation.digests}
    progress = Progress()
    if resumed_from is not None:
        progress = load_state(resumed_from, model, optimizer, fixed_part)
        display.message(f"Resumed from {resumed_from} after step {progress.step}.")
    else:
        _create(output_dir)
        for name, content in model_folder_files(preparation.tokenizer, model).items():
            write_file(output_dir / name, content)
    # Also when resumed: the length of the run and what is reported may have changed.
    description = json.dumps(recipes.to_json(recipe), indent=2, ensure_ascii=False) + "\n"
    write_file(output_dir / RECIPE_FILE, description.encode())
    run = TrainingRun(recipe, output_dir, display, preparation, model, optimizer, progress, fixed_part, chosen_device)
    return run.loop()


def saved_recipe(output_dir: Path) -> recipes.Recipe | None:
    """The recipe of the run in `output_dir`; None where there is none. Raises InvalidInputError where it is broken."""
    path = output_dir / RECIPE_FILE
    try:
        return recipes.from_json(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInputError(f"Can't read {path}: {error}", field="resume") from error


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, ValueError, AssertionError) as error:  # what a torch without CUDA raises
        raise InvalidInputError(f"This machine has no device {name!r}.", field="device") from error
    return device


def _resumed_from(output_dir: Path, is_resumed: bool) -> Path | None:
    checkpoints = checkpoint_folders(output_dir)
    if is_resumed:
        if not checkpoints:
            raise InvalidInputError(f"{output_dir} holds no checkpoint to resume from.", field="resume")
        return checkpoints[-1]
    if checkpoints or (output_dir / "config.json").exists():
        raise InvalidInputError(
            f"{output_dir} already holds a model: add --resume to go on with its run, or name another folder.",
            field="output_dir",
        )
    if output_dir.exists() and not output_dir.is_dir():
        raise InvalidInputError(f"{output_dir} is not a folder.", field="output_dir")
    return None


def _create(output_dir: Path) -> None:
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"Can't create {output_dir}: {error.strerror or error}.", field="output_dir") from error
