"""What a training run is made of: sources, shape, optimisation; read from TOML, checked before anything is written."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_type_hints

from gpt2svc.errors import InvalidInputError
from gpt2svc.training.shape import ModelShape

T = TypeVar("T")

BUNDLED_RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class Source:
    """One JSONL file. `repeats` is how often an epoch visits each row (2.5: twice, and a random half a third time)."""

    path: Path
    repeats: float = 1.0
    exclude: tuple[str, ...] = ()  # regular expressions; a row with a match in any of its texts is left out
    max_duplicates: int = 0  # rows that open with the same words; 0 keeps all
    is_validated: bool = True  # takes part in the validation split


@dataclass(frozen=True)
class Optimisation:
    """The Trainer's names and meanings, except that a batch is a packed stream: its budget of tokens is
    `per_device_train_batch_size * max_length`."""

    max_steps: int = 0  # 0: num_train_epochs decides
    num_train_epochs: float = 20.0
    per_device_train_batch_size: int = 8
    gradient_accumulation_steps: int = 1
    max_length: int = 1024
    learning_rate: float = 5e-5
    min_learning_rate_share: float = 0.1
    warmup_steps: int = 100
    weight_decay: float = 0.1
    adam_beta1: float = 0.9
    adam_beta2: float = 0.95
    max_grad_norm: float = 1.0
    bf16: bool = False
    seed: int = 42
    join_share: float = 0.0  # share of conversations that go straight on with the next one


LENGTH_SETTINGS = ("max_steps", "num_train_epochs")
FINE_TUNING = Optimisation(num_train_epochs=3.0, per_device_train_batch_size=2, max_length=512)


@dataclass(frozen=True)
class Reporting:
    """What may change between an interrupted run and its resumption."""

    eval_steps: int = 500
    save_steps: int = 500
    logging_steps: int = 100
    save_total_limit: int = 2


@dataclass(frozen=True)
class Recipe:
    sources: tuple[Source, ...]
    validation: tuple[Source, ...] = ()  # empty: a share of the sources
    validation_share: float = 0.01
    initial_model: Path | None = None  # a folder to fine-tune; its vocabulary and shape are kept
    shape: ModelShape = field(default_factory=ModelShape)
    optimisation: Optimisation = field(default_factory=Optimisation)
    reporting: Reporting = field(default_factory=Reporting)

    def fixed_part(self) -> dict[str, Any]:
        """What a resumed run must agree with, as JSON would hold it: all that decides the weights but the length of the
        run, which may be changed on the way."""
        part = asdict(self)
        del part["reporting"]
        for name in LENGTH_SETTINGS:
            del part["optimisation"][name]
        part["initial_model"] = self.initial_model and self.initial_model.name
        for name in ("sources", "validation"):
            part[name] = [
                {**source, "path": source["path"].name, "exclude": list(source["exclude"])} for source in part[name]
            ]
        return part


def read_recipe(path: Path, corpus: Path) -> Recipe:
    """The recipe in the TOML file `path`; relative sources are looked for in `corpus`, then beside the recipe."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInputError(f"Can't read the recipe {path}: {error.strerror}.", field="config") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"The recipe {path} is not TOML: {error}.", field="config") from error
    known = {"sources", "validation", "validation_share", "model", "training", "reporting"}
    if unknown := sorted(set(table) - known):
        raise InvalidInputError(f"The recipe {path} has unknown tables: {', '.join(unknown)}.", field="config")

    def sources(name: str) -> tuple[Source, ...]:
        built = [build(Source, row, f"[[{name}]]") for row in table.get(name, [])]
        return tuple(replace(source, path=_find(source.path, corpus, path.parent)) for source in built)

    share = table.get("validation_share", Recipe.validation_share)
    if not isinstance(share, int | float):
        raise InvalidInputError("validation_share must be a number.", field="validation_share")
    return Recipe(
        sources=sources("sources"),
        validation=sources("validation"),
        validation_share=float(share),
        shape=build(ModelShape, table.get("model", {}), "[model]"),
        optimisation=build(Optimisation, table.get("training", {}), "[training]"),
        reporting=build(Reporting, table.get("reporting", {}), "[reporting]"),
    )


def to_json(recipe: Recipe) -> dict[str, Any]:
    """The whole recipe with absolute paths, as `from_json` reads it."""
    whole = asdict(recipe)
    for name in ("sources", "validation"):
        whole[name] = [
            {**source, "path": str(source["path"].absolute()), "exclude": list(source["exclude"])}
            for source in whole[name]
        ]
    whole["initial_model"] = recipe.initial_model and str(recipe.initial_model.absolute())
    return whole


def from_json(whole: Mapping[str, Any]) -> Recipe:
    """Raises InvalidInputError, or KeyError and TypeError where it is no recipe at all."""
    initial_model = whole["initial_model"]
    return Recipe(
        sources=tuple(build(Source, row, "sources") for row in whole["sources"]),
        validation=tuple(build(Source, row, "validation") for row in whole["validation"]),
        validation_share=float(whole["validation_share"]),
        initial_model=None if initial_model is None else Path(initial_model),
        shape=build(ModelShape, whole["shape"], "shape"),
        optimisation=build(Optimisation, whole["optimisation"], "optimisation"),
        reporting=build(Reporting, whole["reporting"], "reporting"),
    )


def build(kind: type[T], values: Mapping[str, Any], place: str) -> T:
    """`kind(**values)` with unknown names and wrong types refused by name."""
    hints = get_type_hints(kind)
    converted: dict[str, Any] = {}
    for name, value in values.items():
        if name not in hints:
            names = ", ".join(hint for hint in hints)
            raise InvalidInputError(f"{place} has no setting {name!r}; it knows {names}.", field=name)
        converted[name] = _convert(value, hints[name], name)
    try:
        return kind(**converted)
    except TypeError as error:
        raise InvalidInputError(f"{place} lacks a setting: {error}.", field="config") from error


def validate(recipe: Recipe) -> None:
    """Raises InvalidInputError that names the first setting that can't work, and its limit."""
    optimisation, shape = recipe.optimisation, recipe.shape
    if not recipe.sources:
        raise InvalidInputError("No training text: give --data FILE or a recipe with [[sources]].", field="data")
    for settings in (optimisation, shape, recipe.reporting):
        for item in fields(settings):
            value = getattr(settings, item.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise InvalidInputError(f"{item.name} must be a finite number, not {value}.", field=item.name)
    at_least: list[tuple[str, float, float]] = [
        ("n_layer", shape.n_layer, 1), ("n_head", shape.n_head, 1), ("n_embd", shape.n_embd, 1),
        ("n_positions", shape.n_positions, 2), ("vocab_size", shape.vocab_size, 257),
        ("max_length", optimisation.max_length, 2),
        ("per_device_train_batch_size", optimisation.per_device_train_batch_size, 1),
        ("gradient_accumulation_steps", optimisation.gradient_accumulation_steps, 1),
        ("max_steps", optimisation.max_steps, 0), ("warmup_steps", optimisation.warmup_steps, 0),
        ("weight_decay", optimisation.weight_decay, 0), ("seed", optimisation.seed, 0),
        ("logging_steps", recipe.reporting.logging_steps, 1), ("eval_steps", recipe.reporting.eval_steps, 1),
        ("save_steps", recipe.reporting.save_steps, 1), ("save_total_limit", recipe.reporting.save_total_limit, 1),
    ]  # fmt: skip
    for name, value, least in at_least:
        if value < least:
            raise InvalidInputError(f"{name} must be at least {least}, not {value}.", field=name)
    above_zero = {
        "learning_rate": optimisation.learning_rate,
        "max_grad_norm": optimisation.max_grad_norm,
        **({} if optimisation.max_steps else {"num_train_epochs": optimisation.num_train_epochs}),
        **{f"repeats of {source.path.name}": source.repeats for source in recipe.sources},
    }
    for name, number in above_zero.items():
        if not (math.isfinite(number) and number > 0):
            raise InvalidInputError(f"{name} must be greater than 0, not {number}.", field=name)
    shares = {
        "dropout": shape.dropout, "join_share": optimisation.join_share, "validation_share": recipe.validation_share,
        "adam_beta1": optimisation.adam_beta1, "adam_beta2": optimisation.adam_beta2,
    }  # fmt: skip
    for name, number in shares.items():
        if not 0 <= number < 1:
            raise InvalidInputError(f"{name} must be at least 0 and less than 1, not {number}.", field=name)
    if shape.n_embd % shape.n_head:
        raise InvalidInputError(
            f"n_embd ({shape.n_embd}) must be a multiple of n_head ({shape.n_head}).", field="n_embd"
        )
    if optimisation.max_length > shape.n_positions:
        raise InvalidInputError(
            f"max_length ({optimisation.max_length}) can't exceed n_positions ({shape.n_positions}).",
            field="max_length",
        )


def _source_json(source: dict[str, Any], path: str) -> dict[str, Any]:
    return {**source, "path": path, "exclude": list(source["exclude"])}


def _find(path: Path, corpus: Path, beside: Path) -> Path:
    if path.is_absolute():
        return path
    local = beside / path
    return local if local.exists() and not (corpus / path).exists() else corpus / path


def _convert(value: Any, hint: Any, name: str) -> Any:
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if get_args(hint) and isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    expected = hint if isinstance(hint, type | UnionType) else tuple
    if not isinstance(value, expected) or (isinstance(value, bool) and hint is not bool):
        raise InvalidInputError(f"{name} must be of type {getattr(hint, '__name__', hint)}, not {value!r}.", field=name)
    return value
