"""A setting as a dataclass field that carries its own help: the flags and the configuration file are made from it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class OptionHelp:
    """What `--help` says of a setting, and under which heading."""

    text: str
    panel: str


def option(default: Any, text: str, panel: str) -> Any:
    """A dataclass field with help. A default of None leaves the value to the kind of run."""
    return dataclasses.field(default=default, metadata={"help": OptionHelp(text, panel)})


def help_of(item: dataclasses.Field[Any]) -> OptionHelp:
    found: OptionHelp = item.metadata["help"]
    return found


def flag(name: str) -> str:
    """`max_length` → `--max-length`."""
    return "--" + name.replace("_", "-")
