"""ModelWriter: the folders that `gpt2svc serve` and transformers' `from_pretrained` load."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpt2svc.training.published_folder import published_folder


@dataclass(frozen=True)
class ModelWriter:
    architecture: str  # as transformers names it, whatever class was trained
    tokenizer_files: Mapping[str, bytes]

    def fill(self, model: Any, folder: Path) -> None:
        """config.json, safetensors in float32 and the tokenizer, into a folder that exists."""
        model.save_pretrained(folder)
        path = folder / "config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        config["architectures"] = [self.architecture]
        path.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        for weights in folder.glob("*.safetensors"):
            weights.chmod(path.stat().st_mode)  # the library makes them private to the user
        for name, content in self.tokenizer_files.items():
            (folder / name).write_bytes(content)

    def publish(self, model: Any, folder: Path) -> None:
        """The same, whole or not at all. Raises StorageFullError or StorageError."""
        with published_folder(folder) as temporary:
            self.fill(model, temporary)
