"""Verification: an exported graph against transformers in torch, in the ways that it will be used."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
import torch
from transformers import AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

from gpt2svc.errors import ModelFormatError
from gpt2svc.export.precision import Precision
from gpt2svc.models.config import GPT2Config

Array = np.ndarray[Any, Any]

_MAX_PROMPT: Final = 24


@dataclass(frozen=True, slots=True)
class Verification:
    """The error of each case, as Precision.tolerance measures it."""

    errors: dict[str, float]

    @property
    def largest(self) -> float:
        return max(self.errors.values())


def open_session(path: Path) -> "onnxruntime.InferenceSession":
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def verification(path: Path, errors: dict[str, float], precision: Precision) -> Verification:
    """Raises ModelFormatError where one is over the tolerance."""
    for case, error in errors.items():
        if not error <= precision.tolerance:  # NaN fails it too
            raise ModelFormatError(
                f"The exported graph {path.name} is not the model: in the case {case!r} its logits differ by "
                f"{error:.2g} where {precision.tolerance:.2g} is allowed. Nothing was kept.",
                field="output",
            )
    return Verification(errors)


class Verifier:
    """Holds the reference model; one for all graphs of a folder."""

    def __init__(self, folder: Path, config: GPT2Config) -> None:
        self._config = config
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # it would write over our lines
        # In evaluation mode, as from_pretrained leaves it.
        self._model = AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, dtype=torch.float32, use_safetensors=True
        )

    def verify(self, path: Path, precision: Precision) -> Verification:
        """Raises ModelFormatError where the graph's logits are not the model's within the tolerance."""
        return verification(path, self._errors(open_session(path)), precision)

    def _errors(self, session: "onnxruntime.InferenceSession") -> dict[str, float]:
        config = self._config
        length = min(_MAX_PROMPT, config.n_positions - 1)
        random = np.random.default_rng(0)
        ids = random.integers(0, config.vocab_size, (2, length + 1))
        one, mask = ids[:1, :length], np.ones((1, length + 1), dtype=np.int64)

        whole, past = self._run(session, one, mask[:, :length])
        reference = self._reference(ids[:1], mask)
        step, _ = self._run(session, ids[:1, length:], mask, past)
        half = max(1, length // 2)
        _, first_past = self._run(session, one[:, :half], mask[:, :half])
        rest, _ = self._run(session, ids[:1, half:], mask, first_past)

        # Two rows, of which the first is shorter and padded on the left; then a step of both.
        padded_mask = np.ones((2, length + 1), dtype=np.int64)
        padded_mask[0, :half] = 0
        padded, padded_past = self._run(session, ids[:, :length], padded_mask[:, :length])
        padded_step, _ = self._run(session, ids[:, length:], padded_mask, padded_past)
        padded_reference = self._reference(ids, padded_mask)
        is_real = padded_mask[:, :length].astype(bool)
        return {
            "empty past": _error(whole, reference[:, :length]),
            "step": _error(step, reference[:, length:]),
            "continuation": _error(rest, reference[:, half:]),
            "padded batch": _error(padded[is_real], padded_reference[:, :length][is_real]),
            "padded step": _error(padded_step, padded_reference[:, length:]),
        }

    def _run(
        self, session: "onnxruntime.InferenceSession", ids: Array, mask: Array, past: dict[str, Array] | None = None
    ) -> tuple[Array, dict[str, Array]]:
        """Logits, and what is the past of the next call."""
        if past is None:
            past = {}
            for described in session.get_inputs():
                if described.name.startswith("past_key_values."):
                    dtype = np.float16 if described.type == "tensor(float16)" else np.float32
                    past[described.name] = np.zeros(
                        (len(ids), self._config.n_head, 0, self._config.head_dim), dtype=dtype
                    )
        positions = _positions(mask)[:, -ids.shape[1] :]
        feeds = {"input_ids": ids, "attention_mask": mask, "position_ids": positions, **past}
        names = [described.name for described in session.get_outputs()]
        results = dict(zip(names, session.run(names, feeds), strict=True))
        logits = results.pop("logits")
        return logits, {name.replace("present.", "past_key_values."): value for name, value in results.items()}

    @torch.inference_mode()
    def _reference(self, ids: Array, mask: Array) -> Array:
        logits: Array = self._model(
            input_ids=torch.from_numpy(ids),
            attention_mask=torch.from_numpy(mask),
            position_ids=torch.from_numpy(_positions(mask)),
        ).logits.numpy()
        return logits


def _positions(mask: Array) -> Array:
    """Counted from the first token that is not padding."""
    positions: Array = np.maximum(mask.cumsum(axis=1) - 1, 0)
    return positions


def _error(found: Array, wanted: Array) -> float:
    centred = wanted - wanted.mean(axis=-1, keepdims=True)
    return float(np.sqrt(np.mean((found - wanted) ** 2.0)) / max(float(np.sqrt(np.mean(centred**2.0))), 1e-12))
