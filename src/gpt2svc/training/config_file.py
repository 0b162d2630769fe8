"""Settings and sources from YAML, TOML or JSON, unknown names and wrong types refused by name."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from gpt2svc.errors import InvalidInputError
from gpt2svc.training.settings import Source, TrainingSettings

T = TypeVar("T")

BUNDLED_CONFIGS = Path(__file__).parent / "recipes"
SOURCES = "sources"
DATA = "data"


def read_config(name: str, corpus: Path | None) -> tuple[dict[str, Any], tuple[Source, ...]]:
    """The settings in the file `name` (or the bundled one of that name), by field name, and its sources.

    Relative sources are looked for in `corpus`, then beside the file. Raises InvalidInputError.
    """
    bundled = BUNDLED_CONFIGS / f"{name}.toml"
    path = bundled if bundled.exists() and not Path(name).exists() else Path(name)
    table = _read_table(path)
    listed = table.pop(SOURCES, [])
    if isinstance(data := table.pop(DATA, []), str):
        data = [data]
    if not isinstance(listed, list) or not isinstance(data, list) or not all(isinstance(item, str) for item in data):
        raise InvalidInputError(f"{path}: data must be a list of files, sources a list of tables.", field=DATA)
    sources = sources_from(listed, str(path), path.parent, corpus)
    sources += tuple(
        replace(parse_source(item), path=_find(parse_source(item).path, path.parent, corpus)) for item in data
    )
    settings = converted(TrainingSettings, table, str(path))
    if "validation_data" in settings:
        settings["validation_data"] = tuple(_find(item, path.parent, corpus) for item in settings["validation_data"])
    if settings.get("vocab") is not None:
        settings["vocab"] = _find(settings["vocab"], path.parent, corpus)
    return settings, sources


def settings_from(table: Mapping[str, Any], place: str) -> TrainingSettings:
    return TrainingSettings(**converted(TrainingSettings, table, place))


def sources_from(rows: Sequence[Any], place: str, beside: Path, corpus: Path | None = None) -> tuple[Source, ...]:
    built = []
    for row in rows:
        if not isinstance(row, Mapping) or "path" not in row:
            raise InvalidInputError(f"{place}: each of [[sources]] must be a table with a path.", field=SOURCES)
        source = Source(**converted(Source, row, f"{place}, [[sources]]"))
        built.append(replace(source, path=_find(source.path, beside, corpus)))
    return tuple(built)


def parse_source(entry: str) -> Source:
    """`FILE` or `FILE:REPEATS`."""
    path, colon, repeats = entry.rpartition(":")
    if colon and path and not Path(entry).exists():
        try:
            return Source(Path(path), repeats=float(repeats))
        except ValueError:
            return Source(Path(entry))
    return Source(Path(entry))


def converted(kind: type[T], values: Mapping[str, Any], place: str) -> dict[str, Any]:
    """`values` as the fields of `kind` want them; None stays away. Raises InvalidInputError."""
    hints = get_type_hints(kind)
    result: dict[str, Any] = {}
    for name, value in values.items():
        known = str(name).replace("-", "_")
        if known not in hints:
            names = ", ".join(item.name for item in fields(kind))  # type: ignore[arg-type]
            raise InvalidInputError(
                f"{place} has no setting {str(name)[:60]!r}; it knows {names}.", field=str(name)[:60]
            )
        if value is not None:
            result[known] = _convert(value, hints[known], known, place)
    return result


def _convert(value: Any, hint: Any, name: str, place: str) -> Any:
    kinds = [kind for kind in (get_args(hint) if isinstance(hint, UnionType) else (hint,)) if kind is not type(None)]
    kind = kinds[0]
    if get_origin(kind) is tuple:
        items = value if isinstance(value, list | tuple) else [value]
        return tuple(_convert(item, get_args(kind)[0], name, place) for item in items)
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is float and isinstance(value, str):
        # YAML 1.1 reads 5e-5, without a dot, as text.
        try:
            return float(value)
        except ValueError:
            pass
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}
        raise InvalidInputError(f"{place}: {name} must be {names[kind]}, not {value!r:.60}.", field=name)
    return value


def _read_table(path: Path) -> dict[str, Any]:
    is_yaml = path.suffix.lower() in (".yaml", ".yml")
    try:
        text = path.read_text(encoding="utf-8-sig")
        if is_yaml:
            import yaml

            try:
                table = yaml.safe_load(text) or {}
            except yaml.YAMLError as error:
                raise InvalidInputError(
                    f"{path} is not YAML: {' '.join(str(error).split())}.", field="config"
                ) from error
        else:
            table = tomllib.loads(text)
    except OSError as error:
        raise InvalidInputError(f"Can't read the configuration {path}: {error.strerror}.", field="config") from error
    except ImportError as error:
        raise InvalidInputError("YAML needs: pip install 'gpt2svc[train]'", field="config") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{path} is not TOML: {error}.", field="config") from error
    if not isinstance(table, dict):
        raise InvalidInputError(f"{path} must hold settings by name.", field="config")
    return table


def _find(path: Path, beside: Path, corpus: Path | None) -> Path:
    if path.is_absolute():
        return path
    if corpus is not None and ((corpus / path).exists() or not (beside / path).exists()):
        return corpus / path
    return beside / path
