"""Compile csrc/ to shared libraries: `python -m gpt2svc.models.native.build`. Standard library only.

Run when the package is built or installed (hatch_build.py).
"""

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from gpt2svc.models.native.levels import LEVELS, Level, levels_of, processor_flags

FOLDER: Final = Path(__file__).parent
_SOURCES: Final = FOLDER / "csrc"

# Fusing is left to the code, so that a row's bits do not depend on the rows beside it.
_OPTIONS: Final = (
    "-std=gnu11", "-O3", "-ffp-contract=off", "-fPIC", "-shared", "-pthread", "-fvisibility=hidden", "-Wno-psabi",
)  # fmt: skip


def compiler() -> str | None:
    """The C compiler: $CC, or cc, gcc or clang on the path; None without one, or on a platform without kernels."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return None
    named = os.environ.get("CC")
    if named:
        return named if shutil.which(named.split()[0]) else None
    return next((name for name in ("cc", "gcc", "clang") if shutil.which(name)), None)


def levels_here() -> list[Level]:
    """The one level that suits this machine's processor best; none where nothing suits it."""
    return levels_of(processor_flags())[:1]


def build(folder: Path = FOLDER, levels: Iterable[Level] = LEVELS) -> list[Path]:
    """A library for each of `levels` in `folder`, each whole or not at all. Empty without a compiler.

    A level that this compiler can't do is left out, with a word on standard error: the others still serve.
    """
    name = compiler()
    if name is None:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    sources = sorted(str(path) for path in _SOURCES.glob("*.c"))
    files = []
    for level in levels:
        file = folder / level.library_name
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            made = Path(scratch) / file.name
            command = [*name.split(), *_OPTIONS, *level.options, *sources, "-o", str(made), "-lm"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                made.replace(file)
                files.append(file)
            else:
                reason = (done.stderr.strip().splitlines() or ["no reason given"])[0]
                print(f"gpt2svc: no kernels for {level.name}: {reason}", file=sys.stderr)
    return files


def main() -> None:
    parser = argparse.ArgumentParser(description="Compile the kernels of the CPU engine.")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the libraries go")
    parser.add_argument("--all", action="store_true", help="for every level of processor, not only this one's")
    options = parser.parse_args()
    files = build(options.folder, LEVELS if options.all else levels_here())
    print("\n".join(map(str, files)) if files else "No kernels were compiled: the engine will go through torch.")


if __name__ == "__main__":
    main()
