"""One block of a GPT-2: its layers over the rows of a call."""

from typing import Protocol

import torch
from torch import Tensor

from gpt2svc.models.config import GPT2Config
from gpt2svc.models.linear import Linear
from gpt2svc.models.weight_format import WeightFormat
from gpt2svc.models.weights import WeightReader


class Attending(Protocol):
    """The rows of a call, which know their keys and values and what they attend to."""

    def attend(self, layer: int, qkv: Tensor) -> Tensor:
        """Queries, keys and values (rows, 3 * n_embd) to what they attend to (rows, n_embd)."""
        ...


class LayerNorm:
    def __init__(self, weight: Tensor, bias: Tensor, epsilon: float) -> None:
        self._weight = weight
        self._bias = bias
        self._shape = list(weight.shape)
        self._epsilon = epsilon
        self.num_bytes = weight.nbytes + bias.nbytes

    def __call__(self, x: Tensor) -> Tensor:
        return torch.layer_norm(x, self._shape, self._weight, self._bias, self._epsilon)


class Layer:
    """One block: attention and a perceptron, each of which reads its norm and adds to what there was."""

    def __init__(self, config: GPT2Config, index: int, weights: WeightReader, weight_format: WeightFormat) -> None:
        def read(name: str) -> Tensor:
            return weights.read(f"h.{index}.{name}").to(device=weight_format.device, dtype=torch.float32)

        def norm(name: str) -> LayerNorm:
            weight, bias = read(f"{name}.weight"), read(f"{name}.bias")
            return LayerNorm(weight_format.vector(weight), weight_format.vector(bias), config.layer_norm_epsilon)

        def linear(name: str, *, activation: str | None = None, query_scale: float = 1.0) -> Linear:
            weight = read(f"{name}.weight").t()  # stored (in, out)
            bias = read(f"{name}.bias")
            if query_scale != 1.0:
                weight[: config.n_embd] *= query_scale
                bias[: config.n_embd] *= query_scale
            return weight_format.linear(weight, bias, activation)

        self.norm_1 = norm("ln_1")
        # The scores' scale is folded into the weights that make the queries.
        self.qkv = linear("attn.c_attn", query_scale=score_scale(config, index))
        self.attention_out = linear("attn.c_proj")
        self.norm_2 = norm("ln_2")
        self.expand = linear("mlp.c_fc", activation=config.activation_function)
        self.contract = linear("mlp.c_proj")
        self.num_bytes = sum(
            part.num_bytes
            for part in (self.norm_1, self.qkv, self.attention_out, self.norm_2, self.expand, self.contract)
        )

    def forward(self, index: int, x: Tensor, batch: Attending) -> Tensor:
        attended = batch.attend(index, self.qkv(self.norm_1(x)))
        x = self.attention_out.added_to(x, attended)
        return self.contract.added_to(x, self.expand(self.norm_2(x)))


def score_scale(config: GPT2Config, index: int) -> float:
    scale = config.head_dim**-0.5 if config.scale_attn_weights else 1.0
    return scale / (index + 1) if config.scale_attn_by_inverse_layer_idx else scale
