"""Precision: the number formats that a graph comes in, with what each is called and how exact it must be."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Precision:
    """`tolerance` bounds the error of the logits: its root mean square over that of the (centred) logits."""

    name: str  # as Transformers.js and --help call it
    file: str
    tolerance: float


FP32: Final = Precision("fp32", "model.onnx", 1e-4)
FP16: Final = Precision("fp16", "model_fp16.onnx", 2e-2)
# Weights and activations in 8 bits. GPT-2's activations have outliers, and a tensor shares one scale.
Q8: Final = Precision("q8", "model_quantized.onnx", 0.25)
