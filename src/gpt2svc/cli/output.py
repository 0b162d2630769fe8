"""What commands print: results on stdout, messages for people on stderr, so that output can be piped."""

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import typer

EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE, as a shell reports it: the reader of our output has left


def write(text: str, *, end: str = "\n") -> None:
    """A result. Flushed at once: a streamed reply is read while it grows.

    Raises typer.Exit, which ends the command quietly, when the reader has left (`gpt2svc … | head`).
    """
    try:
        sys.stdout.write(text + end)
        sys.stdout.flush()
    except BrokenPipeError:
        silence_stdout()
        raise typer.Exit(EXIT_BROKEN_PIPE) from None


def write_json(value: Any, *, indent: int | None = 2) -> None:
    """One JSON document; with `indent=None` on one line (a stream of them is JSON Lines)."""
    write(json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False))


def write_table(rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest cell; the first row may hold headings, and a row may end early."""
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(max(map(len, rows), default=0))]
    for row in rows:
        write("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)).rstrip())


def message(text: str) -> None:
    """For the person at the terminal, never part of the result."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def use_printable_output() -> None:
    """Never fail on a character that the terminal's encoding lacks: write it as an escape instead."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def silence_stdout() -> None:
    """After the reader has left: what is still buffered goes nowhere, and the interpreter's last flush stays quiet."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        return  # stdout is closed, or is not a file (a test's buffer): nothing will complain
