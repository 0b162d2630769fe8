"""The run's record: one JSON object a line, in the output folder."""

from __future__ import annotations

import json
from pathlib import Path

from gpt2svc.training.checkpoint import write_file

FILE_NAME = "training_log.jsonl"


class TrainingLog:
    """Records of `step` and numbers; a resumed run first forgets what came after its checkpoint."""

    def __init__(self, output_dir: Path, step: int) -> None:
        self._path = output_dir / FILE_NAME
        self._lines: list[str] = []
        if step and self._path.exists():
            lines = self._path.read_text(encoding="utf-8").splitlines()
            self._lines = [line for line in lines if json.loads(line)["step"] <= step]

    def add(self, **record: float | int | str) -> None:
        self._lines.append(json.dumps(record, ensure_ascii=False))

    def save(self) -> None:
        write_file(self._path, ("\n".join(self._lines) + "\n").encode())
