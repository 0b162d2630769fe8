"""`gpt2svc models`: the models on this machine: list, pull, show, rm."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from gpt2svc.cli.flags import AsJson
from gpt2svc.cli.output import message, write, write_json, write_table
from gpt2svc.errors import InvalidInputError

if TYPE_CHECKING:
    from gpt2svc.config import Settings
    from gpt2svc.models.catalogue import CatalogueEntry
    from gpt2svc.models.folder import ModelFolder
    from gpt2svc.models.hub import DownloadProgress

_DATA_DIR = typer.Option(None, "--data-dir", help="Folder of the database and downloaded models.")
_NAME = typer.Argument(
    ..., metavar="MODEL", help="A hub name such as openai-community/gpt2, or gpt2 for short; @revision if wanted."
)

_HEADINGS = ("NAME", "TASK", "PARAMETERS", "SIZE", "CONTEXT", "REVISION")

models_app = typer.Typer(name="models", no_args_is_help=True, help="The models on this machine.")


@models_app.command("list")
def list_models(data_dir: Path | None = _DATA_DIR, as_json: AsJson = False) -> None:
    """List the bundled model and those pulled from the hub."""
    from gpt2svc.models.catalogue import ModelCatalogue

    entries = ModelCatalogue(_settings(data_dir).models_dir).list()
    if as_json:
        write_json([_described(entry) for entry in entries])
        return
    write_table([_HEADINGS, *map(_row, entries)])
    for entry in entries:
        if entry.problem:
            message(f"{entry.name} can't be used: {entry.problem}")


@models_app.command("pull")
def pull(name: str = _NAME, data_dir: Path | None = _DATA_DIR, as_json: AsJson = False) -> None:
    """Download a model from the hub, or bring it up to date. A download that was cut goes on where it stopped."""
    from gpt2svc.models.catalogue import STARTER
    from gpt2svc.models.hub import HubClient

    if name == STARTER:
        raise InvalidInputError("The bundled model is part of the program: there is nothing to pull.", field="model")
    settings = _settings(data_dir)
    client = HubClient.from_environment(settings.models_dir, endpoint=settings.hub_endpoint)
    with _progress_display() as on_progress:
        folder = client.pull(name, on_progress=on_progress)
    if as_json:
        write_json(_described_folder(folder))
    else:
        write(f"{name} is ready: {folder.num_parameters:,} parameters, revision {folder.revision[:12]}.")


@models_app.command("show")
def show(
    name: str = typer.Argument(..., metavar="MODEL", help='"starter", a pulled hub name, or a folder.'),
    data_dir: Path | None = _DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Check a model on this machine, its tokenizer too, and show what it is."""
    from gpt2svc.models.catalogue import ModelCatalogue

    folder = ModelCatalogue(_settings(data_dir).models_dir).require(name, allow_folder=True)
    tokenizer = folder.load_tokenizer()
    described = _described_folder(folder) | {
        "tokenization": tokenizer.tokenization,
        "eos_token_id": tokenizer.eos_token_id,
        "tokenizer_size": tokenizer.vocab_size,
    }
    if as_json:
        write_json(described)
        return
    width = max(map(len, described))
    for key, value in described.items():
        shown = f"{value:,}" if key in ("parameters", "size_bytes") else "none" if value is None else str(value)
        write(f"{key:<{width}}  {shown}")


@models_app.command("rm")
def remove(name: str = _NAME, data_dir: Path | None = _DATA_DIR) -> None:
    """Delete a pulled model: with @revision that one, else all its revisions."""
    from gpt2svc.models.catalogue import ModelCatalogue

    ModelCatalogue(_settings(data_dir).models_dir).remove(name)
    write(f"{name} was deleted.")


def _settings(data_dir: Path | None) -> "Settings":
    from gpt2svc.config import load_settings

    return load_settings(data_dir=data_dir)


def _described(entry: "CatalogueEntry") -> dict[str, Any]:
    described = _described_folder(entry.folder) if entry.folder is not None else {}
    return {
        "name": entry.name,
        "source": entry.source,
        "path": str(entry.path),
        "revision": entry.revision,
        **described,
        "problem": entry.problem,
    }


def _described_folder(folder: "ModelFolder") -> dict[str, Any]:
    from gpt2svc.models.task_head import task_of

    config = folder.config
    return {
        "name": folder.name,
        "path": str(folder.path),
        "revision": folder.revision,
        "architecture": config.architecture,
        "task": task_of(config.head),
        "parameters": folder.num_parameters,
        "size_bytes": folder.num_bytes,
        "dtype": config.dtype,
        "vocab_size": config.vocab_size,
        "n_positions": config.n_positions,
        "n_layer": config.n_layer,
        "n_head": config.n_head,
        "n_embd": config.n_embd,
    }


def _row(entry: "CatalogueEntry") -> tuple[str, ...]:
    from gpt2svc.models.task_head import task_of

    folder = entry.folder
    if folder is None:
        return (entry.name, "", "broken", "", "", entry.revision[:12])
    parameters = f"{folder.num_parameters / 1e6:,.1f} M"
    size = f"{folder.num_bytes / 1e6:,.1f} MB"
    return (
        entry.name,
        task_of(folder.config.head),
        parameters,
        size,
        str(folder.config.n_positions),
        folder.revision[:12],
    )


@contextmanager
def _progress_display() -> "Iterator[Callable[[DownloadProgress], None]]":
    """A bar on a terminal; elsewhere one line a file. Both on stderr."""
    if not sys.stderr.isatty():
        announced: set[str] = set()

        def announce(progress: "DownloadProgress") -> None:
            if progress.file not in announced:
                announced.add(progress.file)
                message(f"Downloading {progress.file} ({progress.file_total:,} bytes)")

        yield announce
        return

    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    ) as bars:
        task = bars.add_task("Asking the hub", total=None)

        def show_bar(progress: "DownloadProgress") -> None:
            bars.update(
                task, description=progress.file, completed=progress.num_bytes, total=max(progress.total_bytes, 1)
            )

        yield show_bar
