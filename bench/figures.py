"""A measured figure, tables of them, and the file they go to."""

import json
import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """The runs of one measurement; `target` is the most (or, with `is_more_better`, the least) that it should be."""

    name: str
    unit: str
    runs: tuple[float, ...]
    target: float | None = None
    is_more_better: bool = False

    @property
    def median(self) -> float:
        return statistics.median(self.runs)

    @property
    def is_met(self) -> bool | None:
        if self.target is None:
            return None
        return self.median >= self.target if self.is_more_better else self.median <= self.target


def print_table(title: str, figures: Iterable[Figure]) -> None:
    table = Table(title=title, title_justify="left")
    table.add_column("figure")
    for heading in ("median", "lowest", "highest", "target"):
        table.add_column(heading, justify="right")
    for figure in figures:
        verdict = {None: "", True: " ✓", False: " ✗"}[figure.is_met]
        target = "" if figure.target is None else f"{'≥' if figure.is_more_better else '≤'} {figure.target:g}{verdict}"
        values = (figure.median, min(figure.runs), max(figure.runs))
        table.add_row(figure.name, *(f"{value:.4g} {figure.unit}" for value in values), target)
    Console().print(table)


def write_results(
    name: str, figures: Sequence[Figure], outputs: Mapping[str, Sequence[str]], folder: Path = Path("bench-results")
) -> Path:
    """One JSON file a run, with what is needed to compare it with another; `outputs` are scripts' printed lines."""
    now = datetime.now(UTC)
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-{now:%Y%m%dT%H%M%SZ}.json"
    value = {
        "measured_at": now.isoformat(timespec="seconds"),
        "machine": {"processor": _processor(), "num_cpus": os.cpu_count(), "system": platform.platform()},
        "versions": {
            "python": platform.python_version(),
            **{n: version(n) for n in ("gpt2svc", "torch", "transformers")},
        },
        "load_average": os.getloadavg() if hasattr(os, "getloadavg") else None,
        "figures": [{**asdict(figure), "median": figure.median} for figure in figures],
        "outputs": outputs,
    }
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "?")
