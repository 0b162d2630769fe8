"""`torchrun --nproc-per-node N -m gpt2svc.training …`: the flags of `gpt2svc train`, one process a device."""

from __future__ import annotations

import argparse
import dataclasses
import os
import signal
import sys
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from gpt2svc.errors import Gpt2svcError
from gpt2svc.training.option import flag, help_of
from gpt2svc.training.request import requested_run
from gpt2svc.training.settings import TrainingSettings


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m gpt2svc.training", allow_abbrev=False)
    parser.add_argument("--output-dir", type=Path, required=True, help="Folder for models, checkpoints and logs.")
    parser.add_argument("--data", action="append", default=[], metavar="FILE[:REPEATS]", help="JSONL to learn.")
    parser.add_argument("--config", help="YAML or TOML with settings.")
    parser.add_argument("--corpus", type=Path, help="Folder in which the config's files are.")
    parser.add_argument("--resume", action="store_true", help="Go on from the newest checkpoint in --output-dir.")
    hints = get_type_hints(TrainingSettings)
    for item in dataclasses.fields(TrainingSettings):
        text = help_of(item).text.replace("%", "%%")
        kind: Any = hints[item.name]
        if isinstance(kind, UnionType):
            kind = next(part for part in get_args(kind) if part is not type(None))
        if kind is bool:
            parser.add_argument(flag(item.name), action=argparse.BooleanOptionalAction, default=None, help=text)
        elif get_origin(kind) is tuple:
            parser.add_argument(flag(item.name), action="append", type=get_args(kind)[0], default=None, help=text)
        else:
            parser.add_argument(flag(item.name), type=kind, default=None, help=text)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0, 2 for what the user can put right, 128 + the signal that stopped the run."""
    flags = vars(build_parser().parse_args(arguments))
    own = {name: flags.pop(name) for name in ("output_dir", "data", "config", "corpus", "resume")}
    if flags["validation_data"] is not None:
        flags["validation_data"] = tuple(flags["validation_data"])
    is_first = int(os.environ.get("RANK", "0")) == 0
    try:
        settings, sources = requested_run(
            own["output_dir"], flags, data=own["data"], config=own["config"], corpus=own["corpus"], resume=own["resume"]
        )
        from rich.console import Console

        from gpt2svc.training.display import ConsoleDisplay, SilentDisplay
        from gpt2svc.training.run import train

        if not is_first:
            outcome = train(settings, sources, own["output_dir"], SilentDisplay(), resume=own["resume"])
        else:
            with ConsoleDisplay(Console(stderr=True), settings.logging_steps) as display:
                outcome = train(settings, sources, own["output_dir"], display, resume=own["resume"])
    except Gpt2svcError as error:
        if is_first:
            sys.stderr.write(f"Error: {' '.join(error.message.split())}\n")
        return 2
    if outcome.signal_number is not None:
        if is_first:
            name = signal.Signals(outcome.signal_number).name
            sys.stderr.write(
                f"Stopped by {name} after step {outcome.step}; everything is saved: add --resume to go on.\n"
            )
        return 128 + outcome.signal_number
    return 0


if __name__ == "__main__":
    sys.exit(main())
