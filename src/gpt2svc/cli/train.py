"""`gpt2svc train`: a model of one's own from JSONL, in the foreground, with a progress bar."""

import dataclasses
import inspect
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from gpt2svc.cli.output import message, write
from gpt2svc.errors import Gpt2svcError
from gpt2svc.training.option import help_of
from gpt2svc.training.settings import DATA, RUN, Source, TrainingSettings

if TYPE_CHECKING:
    from gpt2svc.training.run import Outcome

_OUT_OF_MEMORY = ("not enough memory", "can't allocate memory", "out of memory")


def train_command() -> Callable[..., None]:
    """`train` with a flag for each of the settings, for typer to read."""

    def train(
        output_dir: Path, data: list[str] | None, config: str | None, corpus: Path | None, resume: bool, **flags: Any
    ) -> None:
        """Fine-tune GPT-2 or GPT-1 on your data (--model), or train a GPT-2 of your own (--from-scratch).

        Rows of --data: {"text"}, {"messages"}, {"prompt", "completion"}, Alpaca, ShareGPT, token sequences; with
        "label" for classification, with "choices" for multiple choice. The best model by validation loss is written to
        OUTPUT_DIR/best_model, ready for `gpt2svc serve --model` and for transformers. Ctrl-C saves a checkpoint;
        `gpt2svc train --resume --output-dir OUTPUT_DIR` goes on exactly where it was.
        """
        _train(output_dir, data or (), config, corpus, resume, flags)

    parameters = [
        _parameter(
            "output_dir", Path, "Folder for models, checkpoints and logs.", RUN, default=inspect.Parameter.empty
        ),
        _parameter(
            "data", list[str] | None, "JSONL to learn; several times if need be. REPEATS: visits an epoch.", DATA,
            metavar="FILE[:REPEATS]",
        ),
        _parameter(
            "config", str | None, "YAML or TOML with settings; `starter`: the bundled one. Flags win.", DATA,
            metavar="FILE",
        ),
        _parameter("corpus", Path | None, "Folder in which the config's files are.", DATA),
        _parameter(
            "resume", bool, "Go on from the newest checkpoint in --output-dir.", RUN, "--resume", default=False
        ),
        *(_setting(item) for item in dataclasses.fields(TrainingSettings)),
    ]  # fmt: skip
    train.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    train.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return train


def _setting(item: "dataclasses.Field[Any]") -> inspect.Parameter:
    shown = help_of(item)
    kind: Any = get_type_hints(TrainingSettings)[item.name]
    is_plain = item.default in (None, (), False, 0) or item.name == "task"
    text = shown.text if is_plain else f"{shown.text} ({item.default})"
    kind = list[Path] if kind == tuple[Path, ...] else kind
    names = ("--from-scratch",) if item.name == "from_scratch" else ()
    return _parameter(item.name, kind | None, text, shown.panel, *names)


def _parameter(
    name: str, kind: Any, text: str, panel: str, *names: str, default: Any = None, metavar: str | None = None
) -> inspect.Parameter:
    option = typer.Option(*names, help=text, rich_help_panel=panel, metavar=metavar, show_default=False)
    annotation = Annotated[kind, option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _train(
    output_dir: Path, data: Sequence[str], config: str | None, corpus: Path | None, resume: bool, flags: dict[str, Any]
) -> None:
    from gpt2svc.config import load_settings
    from gpt2svc.training.request import requested_run

    if flags["validation_data"] is not None:
        flags["validation_data"] = tuple(flags["validation_data"])
    settings, sources = requested_run(
        output_dir, flags, data=data, config=config, corpus=corpus, resume=resume,
        models_dir=load_settings().models_dir,
    )  # fmt: skip
    _finish(_run(settings, sources, output_dir, resume))


def _run(settings: TrainingSettings, sources: tuple[Source, ...], output_dir: Path, resume: bool) -> "Outcome":
    # Before torch is imported: threads that wait busily slow a shared machine tenfold.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from gpt2svc.training.run import check_extra, train

    check_extra()
    from rich.console import Console

    from gpt2svc.training.display import ConsoleDisplay
    from gpt2svc.training.documents import CorpusError

    try:
        with ConsoleDisplay(Console(stderr=True), settings.logging_steps) as display:
            return train(settings, sources, output_dir, display, resume=resume)
    except CorpusError as error:
        for problem in error.problems:
            message(problem)
        raise
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not any(sign in str(error).lower() for sign in _OUT_OF_MEMORY):
            raise
        raise Gpt2svcError(
            "The memory is full: lower --per-device-train-batch-size or --max-length, or add --gradient-checkpointing."
        ) from error


def _finish(outcome: "Outcome") -> None:
    if outcome.signal_number is not None:
        name = signal.Signals(outcome.signal_number).name
        message(
            f"Stopped by {name} after step {outcome.step} of {outcome.num_steps}; everything is saved. Go on with:\n"
            f"  gpt2svc train --resume --output-dir {outcome.output_dir}"
        )
        raise typer.Exit(128 + outcome.signal_number)
    best = "" if outcome.best_loss is None else f"; the best, at step {outcome.best_step}, has {outcome.best_loss:.4f}"
    message(f"Done: {outcome.step} steps, {outcome.num_tokens} tokens{best}. Try it with:")
    message(f"  gpt2svc serve --model {outcome.output_dir / 'best_model'}")
    write(str(outcome.output_dir / "best_model"))
