"""Quantised weights as any device but a CPU holds them, on a CPU."""

import torch

from gpt2svc.models.quantization import Quantization
from gpt2svc.models.weight_format import WeightFormat


class PortableWeightFormat(WeightFormat):
    """Without the CPU's own products of integers: IntegerLinear and RestoredInt4Linear, in the dtype asked for."""

    def __init__(self, device: torch.device, dtype: torch.dtype, quantize: Quantization) -> None:
        super().__init__(device, dtype, quantize)
        self._has_products = False
        self.row_dtype = dtype
