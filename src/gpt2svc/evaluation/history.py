"""EvaluationHistory: every evaluation made on this machine, a line of JSON each, so that models can be compared."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gpt2svc.errors import InvalidInputError
from gpt2svc.evaluation.report import EvaluationReport

HISTORY_NAME: Final = "evaluations.jsonl"
LAST: Final = "last"


class EvaluationHistory:
    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / HISTORY_NAME

    def add(self, report: EvaluationReport) -> None:
        """Raises InvalidInputError where it can't be written."""
        line = json.dumps(report.to_mapping(), ensure_ascii=False, allow_nan=False) + "\n"
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # One write to a file opened for appending: two evaluations at once don't mix their lines.
            with self._path.open("ab", buffering=0) as file:
                if not _ends_a_line(self._path):
                    line = "\n" + line
                file.write(line.encode("utf-8"))
                os.fsync(file.fileno())
        except OSError as error:
            raise InvalidInputError(f"Can't write {self._path}: {error.strerror}.", field="data_dir") from error

    def reports(self) -> Iterator[EvaluationReport]:
        """Oldest first. A line that can't be read, cut by a full disk say, is left out."""
        try:
            lines = self._path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return
        except OSError as error:
            raise InvalidInputError(f"Can't read {self._path}: {error.strerror}.", field="data_dir") from error
        for line in lines:
            try:
                yield EvaluationReport.from_mapping(json.loads(line))
            except (ValueError, KeyError, TypeError):
                continue

    def find(self, run: str) -> EvaluationReport:
        """The evaluation with the id `run`, or with "last" the newest one. Raises InvalidInputError."""
        reports = list(self.reports())
        found = reports[-1:] if run == LAST else [report for report in reports if report.id == run]
        if not found:
            what = "There is no evaluation yet" if not reports else f"No evaluation has the id {run[:60]!r}"
            raise InvalidInputError(f"{what}; `gpt2svc eval --history` lists them.", field="baseline")
        return found[-1]


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
