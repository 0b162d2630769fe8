"""From a command line's values to the settings and sources of a run: file first, flags over it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gpt2svc.errors import InvalidInputError
from gpt2svc.training.config_file import parse_source, read_config
from gpt2svc.training.run_files import saved_run
from gpt2svc.training.settings import Source, TrainingSettings

CONFIG_NAME = "config.json"


def requested_run(
    output_dir: Path,
    flags: Mapping[str, Any],
    *,
    data: Sequence[str] = (),
    config: str | None = None,
    corpus: Path | None = None,
    resume: bool = False,
    models_dir: Path | None = None,
) -> tuple[TrainingSettings, tuple[Source, ...]]:
    """`flags` are settings by name, None where not given. With `resume` the run in `output_dir` is the base.

    `model` becomes the path of a folder. Raises InvalidInputError.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    sources: tuple[Source, ...] = ()
    if resume:
        settings, sources = saved_run(output_dir)
        if config is not None:
            raise InvalidInputError("--resume takes its settings from the run: leave --config out.", field="config")
    elif config is not None:
        values, sources = read_config(config, corpus)
        if "model" in given and "from_scratch" not in given:
            values.pop("from_scratch", None)
        if "from_scratch" in given and "model" not in given:
            values.pop("model", None)
        settings = TrainingSettings(**values)
    else:
        settings = TrainingSettings()
    if data:
        sources = tuple(parse_source(entry) for entry in data)
    settings = dataclasses.replace(settings, **given)
    if settings.model is not None and ("model" in given or not resume):
        settings = dataclasses.replace(settings, model=str(model_folder(settings.model, models_dir)))
    return settings, sources


def model_folder(name: str, models_dir: Path | None) -> Path:
    """Of a folder, of `starter`, or, given `models_dir`, of a pulled model. Raises InvalidInputError or ModelError."""
    from gpt2svc.models.catalogue import STARTER, ModelCatalogue

    path = Path(name)
    if (path / CONFIG_NAME).is_file():
        return path
    if name != STARTER and (path.exists() or models_dir is None or name.startswith((".", "/", "~"))):
        raise InvalidInputError(f"{name} is no model folder: it has no {CONFIG_NAME}.", field="model")
    return ModelCatalogue(models_dir or Path()).require(name).path
