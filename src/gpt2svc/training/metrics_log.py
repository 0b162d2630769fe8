"""MetricsLog: a run's numbers as JSON Lines, CSV and TensorBoard events."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any, Final

from gpt2svc.training.published_folder import storage_errors, write_file

JSONL_NAME: Final = "metrics.jsonl"
CSV_NAME: Final = "metrics.csv"
EVENTS_NAME: Final = "logs"
COLUMNS: Final = (
    "step", "epoch", "loss", "learning_rate", "grad_norm", "num_tokens", "tokens_per_second", "eval_loss",
    "eval_perplexity", "eval_accuracy", "eval_macro_f1", "eval_bits_per_byte", "eval_choice_loss", "eval_lm_loss",
)  # fmt: skip


class MetricsLog:
    """Each record is on disk when `add` returns. A resumed run first forgets what came after its checkpoint."""

    def __init__(self, output_dir: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._jsonl = output_dir / JSONL_NAME
        self._csv = output_dir / CSV_NAME
        self.records: list[dict[str, Any]] = []
        if step and self._jsonl.exists():
            for line in self._jsonl.read_text(encoding="utf-8").splitlines():
                record = _record(line)
                if record is not None and record["step"] <= step:
                    self.records.append(record)
        write_file(self._jsonl, "".join(json.dumps(record) + "\n" for record in self.records).encode())
        write_file(self._csv, self._table().encode())
        with storage_errors(output_dir / EVENTS_NAME):
            self._events: Any = SummaryWriter(str(output_dir / EVENTS_NAME), purge_step=step + 1 if step else None)

    def add(self, **record: Any) -> None:
        """`step` and numbers. Raises StorageFullError or StorageError."""
        self.records.append(record)
        with storage_errors(self._jsonl):
            with self._jsonl.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
            with self._csv.open("a", encoding="utf-8", newline="") as file:
                csv.DictWriter(file, COLUMNS, extrasaction="ignore").writerow(record)
            for name, value in record.items():
                if name != "step":
                    place = f"eval/{name.removeprefix('eval_')}" if name.startswith("eval_") else f"train/{name}"
                    self._events.add_scalar(place, value, record["step"])
            self._events.flush()

    def close(self) -> None:
        self._events.close()

    def _table(self) -> str:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(self.records)
        return text.getvalue()


def _record(line: str) -> dict[str, Any] | None:
    """None for the half line that a killed process leaves."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and isinstance(record.get("step"), int) else None
