"""`gpt2svc train`: a model of one's own from JSONL, in the foreground, with a progress bar."""

import dataclasses
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from gpt2svc.cli.output import message, write
from gpt2svc.errors import Gpt2svcError, InvalidInputError

if TYPE_CHECKING:
    from gpt2svc.training.recipe import Recipe
    from gpt2svc.training.training_run import Outcome

Settings = TypeVar("Settings")

TEXT = "Text"
MODEL = "Model"
STEPS = "Training"
RUN = "Run"


def train(
    output_dir: Annotated[
        Path, typer.Option(help="Folder for the best model, checkpoints and the log.", rich_help_panel=RUN)
    ],
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE[:REPEATS]",
            help='JSONL rows of {"messages": […]} or {"text": …}; several times if need be. REPEATS: visits an epoch.',
            rich_help_panel=TEXT,
        ),
    ] = None,
    eval_data: Annotated[
        list[Path] | None,
        typer.Option(help="JSONL to validate on. Default: 1% of the rows, held out.", rich_help_panel=TEXT),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(help="A recipe: a TOML file, or `starter` for the bundled one. Flags win.", rich_help_panel=TEXT),
    ] = None,
    corpus: Annotated[
        Path | None, typer.Option(help="Folder in which the recipe's files are.", rich_help_panel=TEXT)
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="Model folder to fine-tune; keeps its vocabulary.", rich_help_panel=MODEL)
    ] = None,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Start anew (the default without --model).", rich_help_panel=MODEL)
    ] = False,
    vocab_size: Annotated[int | None, typer.Option(help="Tokens of the new vocabulary.", rich_help_panel=MODEL)] = None,
    n_layer: Annotated[int | None, typer.Option(rich_help_panel=MODEL)] = None,
    n_head: Annotated[int | None, typer.Option(rich_help_panel=MODEL)] = None,
    n_embd: Annotated[int | None, typer.Option(rich_help_panel=MODEL)] = None,
    n_positions: Annotated[int | None, typer.Option(help="The window, in tokens.", rich_help_panel=MODEL)] = None,
    dropout: Annotated[float | None, typer.Option(rich_help_panel=MODEL)] = None,
    max_steps: Annotated[
        int | None, typer.Option(help="Optimizer steps; wins over --num-train-epochs.", rich_help_panel=STEPS)
    ] = None,
    num_train_epochs: Annotated[float | None, typer.Option(rich_help_panel=STEPS)] = None,
    per_device_train_batch_size: Annotated[
        int | None, typer.Option(help="Packed sequences of --max-length tokens a batch.", rich_help_panel=STEPS)
    ] = None,
    gradient_accumulation_steps: Annotated[int | None, typer.Option(rich_help_panel=STEPS)] = None,
    max_length: Annotated[int | None, typer.Option(help="Longest sequence, in tokens.", rich_help_panel=STEPS)] = None,
    learning_rate: Annotated[float | None, typer.Option(rich_help_panel=STEPS)] = None,
    warmup_steps: Annotated[int | None, typer.Option(rich_help_panel=STEPS)] = None,
    weight_decay: Annotated[float | None, typer.Option(rich_help_panel=STEPS)] = None,
    max_grad_norm: Annotated[float | None, typer.Option(rich_help_panel=STEPS)] = None,
    bf16: Annotated[
        bool | None, typer.Option("--bf16/--no-bf16", help="Mixed precision in bfloat16.", rich_help_panel=STEPS)
    ] = None,
    seed: Annotated[int | None, typer.Option(rich_help_panel=STEPS)] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 …", rich_help_panel=RUN)] = "auto",
    eval_steps: Annotated[int | None, typer.Option(rich_help_panel=RUN)] = None,
    save_steps: Annotated[int | None, typer.Option(rich_help_panel=RUN)] = None,
    save_total_limit: Annotated[int | None, typer.Option(help="Checkpoints kept.", rich_help_panel=RUN)] = None,
    logging_steps: Annotated[int | None, typer.Option(rich_help_panel=RUN)] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on from the newest checkpoint in --output-dir.", rich_help_panel=RUN),
    ] = False,
) -> None:
    """Train a GPT-2 on your own text: from scratch with its own vocabulary, or from a model folder.

    The best model by validation loss is written to --output-dir, ready for `gpt2svc serve --model DIR` and for
    transformers. Ctrl-C saves a checkpoint; `gpt2svc train --resume --output-dir DIR` goes on exactly where it was.
    """
    if from_scratch and model is not None:
        raise InvalidInputError("--from-scratch and --model exclude each other.", field="model")
    chosen: dict[str, dict[str, Any]] = {
        "shape": {
            "vocab_size": vocab_size, "n_layer": n_layer, "n_head": n_head, "n_embd": n_embd,
            "n_positions": n_positions, "dropout": dropout,
        },
        "optimisation": {
            "max_steps": max_steps, "num_train_epochs": num_train_epochs,
            "per_device_train_batch_size": per_device_train_batch_size,
            "gradient_accumulation_steps": gradient_accumulation_steps, "max_length": max_length,
            "learning_rate": learning_rate, "warmup_steps": warmup_steps, "weight_decay": weight_decay,
            "max_grad_norm": max_grad_norm, "bf16": bf16, "seed": seed,
        },
        "reporting": {
            "eval_steps": eval_steps, "save_steps": save_steps, "save_total_limit": save_total_limit,
            "logging_steps": logging_steps,
        },
    }  # fmt: skip
    recipe = _base_recipe(output_dir, config, corpus, model, resume)
    recipe = dataclasses.replace(
        recipe,
        **{name: _replaced(getattr(recipe, name), values) for name, values in chosen.items()},
        **_sources(data, eval_data),
    )
    _finish(_run(recipe, output_dir, resume, device))


def _base_recipe(
    output_dir: Path, config: str | None, corpus: Path | None, model: Path | None, resume: bool
) -> "Recipe":
    from gpt2svc.training.recipe import BUNDLED_RECIPES, FINE_TUNING, Recipe, read_recipe
    from gpt2svc.training.trainer import saved_recipe

    saved = saved_recipe(output_dir) if resume else None
    if saved is not None and config is None and model is None:
        return saved
    if config is not None:
        bundled = BUNDLED_RECIPES / f"{config}.toml"
        path = bundled if bundled.exists() and not Path(config).exists() else Path(config)
        recipe = read_recipe(path, corpus or path.parent)
        return dataclasses.replace(recipe, initial_model=model) if model else recipe
    if model is not None:
        return Recipe(sources=(), initial_model=model, optimisation=FINE_TUNING)
    return Recipe(sources=())


def _sources(data: list[str] | None, eval_data: list[Path] | None) -> dict[str, Any]:
    from gpt2svc.training.recipe import Source

    sources: dict[str, Any] = {}
    if data:
        sources["sources"] = tuple(_source(entry) for entry in data)
    if eval_data:
        sources["validation"] = tuple(Source(path) for path in eval_data)
    return sources


def _source(entry: str) -> Any:
    from gpt2svc.training.recipe import Source

    path, colon, repeats = entry.rpartition(":")
    if colon and not Path(entry).exists():
        try:
            return Source(Path(path), repeats=float(repeats))
        except ValueError:
            return Source(Path(entry))
    return Source(Path(entry))


def _replaced(settings: Settings, values: dict[str, Any]) -> Settings:
    given = {name: value for name, value in values.items() if value is not None}
    return dataclasses.replace(settings, **given)  # type: ignore[type-var]


def _run(recipe: "Recipe", output_dir: Path, resume: bool, device: str) -> "Outcome":
    from rich.console import Console

    from gpt2svc.training.display import ConsoleDisplay
    from gpt2svc.training.documents import CorpusError
    from gpt2svc.training.trainer import train as train_model

    try:
        with ConsoleDisplay(Console(stderr=True), recipe.reporting.logging_steps) as display:
            return train_model(recipe, output_dir, display, is_resumed=resume, device=device)
    except CorpusError as error:
        for problem in error.problems:
            message(problem)
        raise
    except MemoryError as error:
        raise Gpt2svcError("The memory is full: lower --per-device-train-batch-size or --max-length.") from error


def _finish(outcome: "Outcome") -> None:
    progress = outcome.progress
    if outcome.signal_number is not None and progress.step < outcome.num_steps:
        name = signal.Signals(outcome.signal_number).name
        message(
            f"Stopped by {name} after step {progress.step} of {outcome.num_steps}; everything is saved. Go on with:\n"
            f"  gpt2svc train --resume --output-dir {outcome.output_dir}"
        )
        raise typer.Exit(128 + outcome.signal_number)
    best = (
        "" if progress.best_loss is None else f", validation loss {progress.best_loss:.4f} at step {progress.best_step}"
    )
    message(f"Done: {progress.step} steps, {progress.num_tokens} tokens{best}.")
    write(str(outcome.output_dir))
