"""WeightFormat: how a model's weights are held and multiplied, in its dtype or in fewer bits."""

import torch
from torch import Tensor

from gpt2svc.models.embedding import Embedding, Int8Embedding, PlainEmbedding
from gpt2svc.models.int4_linear import Int4Linear, RestoredInt4Linear, can_multiply_int4
from gpt2svc.models.int8_linear import Int8Linear, can_multiply_int8
from gpt2svc.models.integer_linear import IntegerLinear
from gpt2svc.models.linear import Linear, PackedLinear, new_linear
from gpt2svc.models.quantization import Quantization
from gpt2svc.models.row_quantization import require_finite


class WeightFormat:
    """For a device, the dtype asked for and, with fewer bits, which.

    `row_dtype` is that of the rows between the layers: float32 where the CPU multiplies by integers, since those
    products round what they read by themselves; `dtype` is then that of the attention and its cache. With 4 bits, the
    embeddings and the output layer have 8.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype, quantize: Quantization = "none") -> None:
        self.device = device
        self.dtype = dtype
        self.quantize = quantize
        self._has_products = (
            quantize != "none" and can_multiply_int8(device) and (quantize == "int8" or can_multiply_int4(device))
        )
        self.row_dtype = torch.float32 if self._has_products else dtype

    def linear(self, weight: Tensor, bias: Tensor | None, activation: str | None = None) -> Linear:
        """A layer between others, for a weight (out, in) as it was read, in any floating-point dtype."""
        if self.quantize != "int4":
            return self.output_linear(weight, bias, activation)
        bias = None if bias is None else self.vector(bias)
        if self._has_products:
            return Int4Linear(weight, bias, activation)
        return RestoredInt4Linear(weight.to(self.device), bias, self.row_dtype, activation)

    def output_linear(self, weight: Tensor, bias: Tensor | None = None, activation: str | None = None) -> Linear:
        """The layer that makes logits: never in fewer than 8 bits, it counts most for what is said."""
        if self.quantize == "none":
            bias = None if bias is None else bias.to(self.device, self.dtype)
            return new_linear(weight.to(self.device, self.dtype), bias, activation)
        bias = None if bias is None else self.vector(bias)
        if self._has_products:
            return Int8Linear(weight, bias, activation)
        return IntegerLinear(weight.to(self.device), bias, self.row_dtype, activation)

    def embedding(self, weight: Tensor) -> Embedding:
        if self.quantize == "none":
            return PlainEmbedding(weight.to(self.device, self.dtype))
        return Int8Embedding(weight.to(self.device), self.row_dtype)

    def tied(self, weight: Tensor) -> tuple[Embedding, Linear, int]:
        """Both the embedding and the output layer of one weight, and the bytes of the two together."""
        if self.quantize == "none":
            weight = weight.to(self.device, self.dtype)
        embedding, head = self.embedding(weight), self.output_linear(weight)
        is_shared = self.quantize == "none" and not isinstance(head, PackedLinear)
        return embedding, head, embedding.num_bytes + (0 if is_shared else head.num_bytes)

    def vector(self, weight: Tensor) -> Tensor:
        """What is never quantised: biases, norms, the embeddings of positions."""
        if self.quantize != "none":
            require_finite(weight)
        return weight.to(self.device, self.row_dtype)
