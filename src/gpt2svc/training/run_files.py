"""The output folder of a run, and what of it can be resumed.

best_model/         the best by validation loss, for `gpt2svc serve` and `from_pretrained`
final_model/        as training left it
checkpoint-N/       all that goes on after step N; the newest `save_total_limit` of them
validation.json     the best model's measures, a classifier's confusion matrix among them
metrics.jsonl, metrics.csv, loss.png, logs/ (TensorBoard)
run.json            data and settings, so that `--resume` needs no other flag
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gpt2svc.errors import InvalidInputError, StorageError, StorageFullError
from gpt2svc.training.config_file import settings_from, sources_from
from gpt2svc.training.published_folder import write_file
from gpt2svc.training.settings import LENGTH, REPORTING, Source, TrainingSettings

RUN_FILE = "run.json"


def check_output_dir(output_dir: Path) -> None:
    """Raises InvalidInputError where a new run would mix with something that is there already."""
    if output_dir.exists() and not output_dir.is_dir():
        raise InvalidInputError(f"{output_dir} is not a folder.", field="output_dir")
    if output_dir.is_dir() and any(output_dir.iterdir()):
        hint = "add --resume to go on with its run, or " if (output_dir / RUN_FILE).exists() else ""
        raise InvalidInputError(f"{output_dir} is not empty: {hint}name another folder.", field="output_dir")


def create_output_dir(output_dir: Path) -> None:
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"Can't create {output_dir}: {error.strerror or error}.", field="output_dir") from error


def check_space(output_dir: Path, num_parameters: int, save_total_limit: int, free_bytes: int) -> None:
    """Raises StorageFullError where what the run will write can't fit.

    Weights in float32; a checkpoint has them thrice (AdamW keeps two moments), and one more is written than is kept.
    """
    needed = 4 * num_parameters * (3 * (save_total_limit + 1) + 3)
    if needed > free_bytes:
        raise StorageFullError(
            f"The disk of {output_dir} has {free_bytes / 1e9:.2f} GB left, and the run will write up to "
            f"{needed / 1e9:.2f} GB: free some space, lower --save-total-limit, or name another --output-dir."
        )


def save_run(output_dir: Path, settings: TrainingSettings, sources: Sequence[Source]) -> None:
    described = {
        "settings": _plain(settings, absolute=True),
        "sources": [_plain(source, absolute=True) for source in sources],
    }
    write_file(output_dir / RUN_FILE, (json.dumps(described, indent=2, ensure_ascii=False) + "\n").encode())


def saved_run(output_dir: Path) -> tuple[TrainingSettings, tuple[Source, ...]]:
    """Raises InvalidInputError where there is none, or it is broken."""
    path = output_dir / RUN_FILE
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        return settings_from(described["settings"], str(path)), sources_from(described["sources"], str(path), Path())
    except FileNotFoundError:
        raise InvalidInputError(f"{output_dir} holds no run to resume.", field="resume") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInputError(f"Can't read {path}: {error}", field="resume") from error


def fixed_part(
    settings: TrainingSettings, sources: Sequence[Source], digests: Mapping[str, str], num_processes: int
) -> dict[str, Any]:
    """What a resumed run must agree with: all that decides the weights, but the length of the run."""
    part = {name: value for name, value in _plain(settings).items() if name not in (*REPORTING, *LENGTH)}
    part["model"] = settings.model and Path(settings.model).name
    return {
        **part,
        "sources": [_plain(source) for source in sources],
        "data": dict(digests),
        "processes": num_processes,
    }


def _plain(value: TrainingSettings | Source, *, absolute: bool = False) -> dict[str, Any]:
    """As JSON holds it; paths absolute, or as mere names."""

    def plain(item: Any) -> Any:
        if isinstance(item, Path):
            return str(item.absolute()) if absolute else item.name
        if isinstance(item, tuple):
            return [plain(entry) for entry in item]
        return item

    return {item.name: plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
