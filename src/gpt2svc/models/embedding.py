"""Tables of embeddings: rows by number."""

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from gpt2svc.models.row_quantization import quantize_rows


class Embedding(Protocol):
    num_bytes: int

    def __call__(self, ids: Tensor) -> Tensor:
        """(N,) to (N, width)."""
        ...


class PlainEmbedding:
    def __init__(self, weight: Tensor) -> None:
        self._weight = weight
        self.num_bytes = weight.nbytes

    def __call__(self, ids: Tensor) -> Tensor:
        return functional.embedding(ids, self._weight)


class Int8Embedding:
    """8-bit rows with a scale each, turned into `dtype` as they are read."""

    def __init__(self, weight: Tensor, dtype: torch.dtype) -> None:
        self._values, scales = quantize_rows(weight)
        self._scales = scales.unsqueeze(1)
        self._dtype = dtype
        self.num_bytes = self._values.nbytes + self._scales.nbytes

    def __call__(self, ids: Tensor) -> Tensor:
        return torch.mul(self._values.index_select(0, ids), self._scales.index_select(0, ids)).to(self._dtype)
