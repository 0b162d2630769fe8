"""RunState: what a checkpoint keeps beside what the Trainer keeps, so that a resumed run is the same run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from gpt2svc.errors import InvalidInputError

FILE_NAME = "training_state.json"


@dataclass
class RunState:
    num_tokens: int = 0
    seconds: float = 0.0
    best_loss: float | None = None
    best_step: int | None = None
    num_stale: int = 0  # validations since the best one
    unlogged_loss: float = 0.0  # the Trainer's sum since its last log line, and where that was
    logged_step: int = 0

    def save(self, folder: Path, fixed: Mapping[str, Any]) -> None:
        described = {"state": asdict(self), "fixed": fixed}
        (folder / FILE_NAME).write_text(json.dumps(described, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, fixed: Mapping[str, Any]) -> Self:
        """Raises InvalidInputError where the checkpoint is broken, or was made with other data or settings (named)."""
        try:
            described = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
            saved, state = described["fixed"], cls(**described["state"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InvalidInputError(f"The checkpoint {folder} can't be read: {error}", field="resume") from error
        wanted = json.loads(json.dumps(fixed))
        for name in sorted(saved.keys() | wanted.keys()):
            if saved.get(name) != wanted.get(name):
                raise InvalidInputError(
                    f"{folder} was made with {name} = {saved.get(name)!r:.200}, now it is {wanted.get(name)!r:.200}. "
                    "Resume with the same data and settings, or start anew in another folder.",
                    field=name,
                )
        return state
