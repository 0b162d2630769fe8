"""ClassifierVerifier: an exported classifier against transformers in torch, alone and in padded batches."""

from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification
from transformers.utils import logging as transformers_logging

from gpt2svc.export.precision import Precision
from gpt2svc.export.verification import Verification, open_session, verification
from gpt2svc.models.config import GPT2Config

_NUM_ROWS: Final = 8
_MAX_TOKENS: Final = 24


class ClassifierVerifier:
    """Holds the reference model; one for all graphs of a folder."""

    def __init__(self, folder: Path, config: GPT2Config) -> None:
        self._config = config
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # it would write over our lines
        self._model = AutoModelForSequenceClassification.from_pretrained(
            folder, local_files_only=True, dtype=torch.float32, use_safetensors=True
        )
        self._model.config.pad_token_id = None  # rows without padding: whatever the last token is, it decides

    def verify(self, path: Path, precision: Precision) -> Verification:
        """Raises ModelFormatError where the graph's logits are not the model's within the tolerance."""
        session = open_session(path)
        random = np.random.default_rng(0)
        longest = min(_MAX_TOKENS, self._config.n_positions)
        lengths = [1 + i * (longest - 1) // (_NUM_ROWS - 1) for i in range(_NUM_ROWS)]
        rows = [random.integers(0, self._config.vocab_size, length) for length in lengths]
        wanted = np.concatenate([self._reference(row) for row in rows])

        def run(ids: "np.ndarray[Any, Any]", mask: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
            logits: np.ndarray[Any, Any] = session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]
            return logits

        alone = np.concatenate([run(row[None], np.ones((1, len(row)), np.int64)) for row in rows])
        errors = {"alone": _error(alone, wanted)}
        for side in ("right", "left"):
            ids, mask = np.zeros((2, _NUM_ROWS, longest), np.int64)
            for i, row in enumerate(rows):
                place = slice(0, len(row)) if side == "right" else slice(longest - len(row), longest)
                ids[i, place], mask[i, place] = row, 1
            errors[f"padded on the {side}"] = _error(run(ids, mask), wanted)
        return verification(path, errors, precision)

    @torch.inference_mode()
    def _reference(self, row: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
        logits: np.ndarray[Any, Any] = self._model(input_ids=torch.from_numpy(row)[None]).logits.numpy()
        return logits


def _error(found: "np.ndarray[Any, Any]", wanted: "np.ndarray[Any, Any]") -> float:
    return float(np.sqrt(np.mean((found - wanted) ** 2.0)) / max(float(np.sqrt(np.mean(wanted**2.0))), 1e-12))
