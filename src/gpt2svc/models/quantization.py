"""The names of weight formats with fewer bits, and what they change about a model's name. Torch-free."""

from typing import Final, Literal, get_args

Quantization = Literal["none", "int8", "int4"]

QUANTIZATIONS: Final[tuple[Quantization, ...]] = get_args(Quantization)


def quantized_revision(revision: str, quantize: Quantization) -> str:
    """The revision of a model as it is loaded: with other weights it gives other answers, so it has another name."""
    return revision if quantize == "none" or not revision else f"{revision}-{quantize}"
