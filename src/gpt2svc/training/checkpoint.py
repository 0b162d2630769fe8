"""Checkpoints: written beside their place and renamed into it, safetensors and JSON only."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from gpt2svc.errors import InvalidInputError, StorageError, StorageFullError
from gpt2svc.training.network import TrainableGpt2

FOLDER_NAME = re.compile(r"checkpoint-(\d+)")
TEMPORARY_PREFIX = ".writing-"


@dataclass(frozen=True)
class Progress:
    """Where a run stands. `epoch` and `batch` are the next batch to be read."""

    step: int = 0
    epoch: int = 0
    batch: int = 0
    num_tokens: int = 0
    seconds: float = 0.0
    best_loss: float | None = None
    best_step: int | None = None


def checkpoint_folders(output_dir: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    found = [
        (int(match[1]), path) for path in output_dir.glob("checkpoint-*") if (match := FOLDER_NAME.fullmatch(path.name))
    ]
    return [path for _, path in sorted(found)]


def write_file(path: Path, content: bytes) -> None:
    """Replaces `path` at once: a reader sees the old content or the new, never a part.

    Raises StorageFullError or StorageError, with nothing left behind.
    """
    temporary = path.with_name(TEMPORARY_PREFIX + path.name)
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise _storage_error(error, path) from error


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes a folder as a whole: it appears complete or not at all. Raises as `write_file`."""
    temporary = folder.with_name(TEMPORARY_PREFIX + folder.name)
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        for name, content in files.items():
            with (temporary / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise _storage_error(error, folder) from error


def state_files(
    optimizer: torch.optim.Optimizer, progress: Progress, fixed_part: Mapping[str, Any]
) -> dict[str, bytes]:
    """What resuming needs beside the weights: the optimizer's moments and the random state, the place, the recipe."""
    tensors: dict[str, torch.Tensor] = {"random_state": torch.get_rng_state()}
    for index, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            tensors[f"{index}.{name}"] = value.contiguous()
    described = {"progress": asdict(progress), "fixed_part": fixed_part}
    return {
        "optimizer.safetensors": save(tensors),
        "training_state.json": (json.dumps(described, indent=2, ensure_ascii=False) + "\n").encode(),
    }


def load_state(
    folder: Path, model: TrainableGpt2, optimizer: torch.optim.Optimizer, fixed_part: Mapping[str, Any]
) -> Progress:
    """Puts a checkpoint's weights, moments and random state in place.

    Raises InvalidInputError where it belongs to another recipe or other text (named), or is broken.
    """
    try:
        described = json.loads((folder / "training_state.json").read_text(encoding="utf-8"))
        _check_same(described["fixed_part"], json.loads(json.dumps(fixed_part)), folder)
        weights = load_file(folder / "model.safetensors")
        tensors = load_file(folder / "optimizer.safetensors")
        model.load_state_dict(weights)
        torch.set_rng_state(tensors.pop("random_state"))
        state: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in tensors.items():
            index, _, name = key.partition(".")
            state.setdefault(int(index), {})[name] = value
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
        return Progress(**described["progress"])
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise InvalidInputError(f"The checkpoint {folder} can't be read: {error}", field="resume") from error


def remove_old(output_dir: Path, limit: int) -> None:
    for folder in checkpoint_folders(output_dir)[:-limit]:
        shutil.rmtree(folder, ignore_errors=True)


def _check_same(saved: Any, wanted: Any, folder: Path, place: str = "") -> None:
    if isinstance(saved, dict) and isinstance(wanted, dict):
        for name in sorted(saved.keys() | wanted.keys()):
            _check_same(saved.get(name), wanted.get(name), folder, f"{place}.{name}" if place else name)
    elif saved != wanted:
        raise InvalidInputError(
            f"{folder} was made with {place} = {saved!r}, now it is {wanted!r}. Resume with the same recipe and text, "
            "or start anew in another folder.",
            field=place.rpartition(".")[2],
        )


def _storage_error(error: OSError, path: Path) -> StorageError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFullError(f"The disk is full: {path} was not written, and nothing half-written is left.")
    return StorageError(f"Can't write {path}: {error.strerror or error}.")
