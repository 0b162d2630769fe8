"""The GPT-2 that is trained: transformers' parameter names, a packed forward pass.

A batch is one flat stream of tokens made of whole documents. The matrix products run over the stream, attention runs
document by document, so no token ever sees another document and no place is lost to padding. transformers' own class
would need a (T, T) mask for the same result. `state_dict()` holds exactly the names and layouts of
`GPT2LMHeadModel` without its tied `lm_head`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from gpt2svc.training.chunked_loss import chunked_cross_entropy
from gpt2svc.training.shape import ModelShape

INITIAL_STD = 0.02  # GPT-2's initializer_range


class Projection(nn.Module):
    """GPT-2's `Conv1D`: a linear layer whose weight is stored (in, out)."""

    def __init__(self, num_inputs: int, num_outputs: int, std: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_inputs, num_outputs).normal_(std=std))
        self.bias = nn.Parameter(torch.zeros(num_outputs))

    def forward(self, hidden: Tensor) -> Tensor:  # (T, in) -> (T, out)
        return torch.addmm(self.bias, hidden, self.weight)


class Attention(nn.Module):
    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        width = shape.n_embd
        self.n_head = shape.n_head
        self.dropout = shape.dropout
        self.c_attn = Projection(width, 3 * width, INITIAL_STD)
        # The residual branches are scaled down with depth, as in GPT-2's paper.
        self.c_proj = Projection(width, width, INITIAL_STD / math.sqrt(2 * shape.n_layer))

    def forward(self, hidden: Tensor, lengths: Sequence[int]) -> Tensor:  # (T, C) -> (T, C)
        num_tokens, width = hidden.shape
        heads = self.c_attn(hidden).view(num_tokens, 3, self.n_head, width // self.n_head)
        outputs = []
        for document in heads.split(list(lengths)):
            query, key, value = document.permute(1, 2, 0, 3).unsqueeze(1).unbind(0)  # each (1, H, L, C/H)
            attended = functional.scaled_dot_product_attention(
                query, key, value, is_causal=True, dropout_p=self.dropout if self.training else 0.0
            )
            outputs.append(attended.squeeze(0).transpose(0, 1))
        result: Tensor = self.c_proj(torch.cat(outputs).reshape(num_tokens, width))
        return result


class FeedForward(nn.Module):
    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.c_fc = Projection(shape.n_embd, 4 * shape.n_embd, INITIAL_STD)
        self.c_proj = Projection(4 * shape.n_embd, shape.n_embd, INITIAL_STD / math.sqrt(2 * shape.n_layer))

    def forward(self, hidden: Tensor) -> Tensor:  # (T, C) -> (T, C)
        result: Tensor = self.c_proj(functional.gelu(self.c_fc(hidden), approximate="tanh"))
        return result


class Block(nn.Module):
    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(shape.n_embd)
        self.attn = Attention(shape)
        self.ln_2 = nn.LayerNorm(shape.n_embd)
        self.mlp = FeedForward(shape)
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, hidden: Tensor, lengths: Sequence[int]) -> Tensor:  # (T, C) -> (T, C)
        hidden = hidden + self.dropout(self.attn(self.ln_1(hidden), lengths))
        result: Tensor = hidden + self.dropout(self.mlp(self.ln_2(hidden)))
        return result


class Transformer(nn.Module):
    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.wte = nn.Embedding(shape.vocab_size, shape.n_embd)
        self.wpe = nn.Embedding(shape.n_positions, shape.n_embd)
        nn.init.normal_(self.wte.weight, std=INITIAL_STD)
        nn.init.normal_(self.wpe.weight, std=INITIAL_STD)
        self.drop = nn.Dropout(shape.dropout)
        self.h = nn.ModuleList(Block(shape) for _ in range(shape.n_layer))
        self.ln_f = nn.LayerNorm(shape.n_embd)

    def forward(self, token_ids: Tensor, position_ids: Tensor, lengths: Sequence[int]) -> Tensor:
        hidden = self.drop(self.wte(token_ids) + self.wpe(position_ids))  # (T, C)
        for block in self.h:
            hidden = block(hidden, lengths)
        result: Tensor = self.ln_f(hidden)
        return result


class TrainableGpt2(nn.Module):
    """A GPT-2 language model with tied embeddings over packed documents."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.shape = shape
        self.transformer = Transformer(shape)

    def forward(self, token_ids: Tensor, position_ids: Tensor, lengths: Sequence[int]) -> Tensor:
        """Logits (T, V) of a stream of documents with the given lengths, which sum to T."""
        hidden = self.transformer(token_ids, position_ids, lengths)
        return functional.linear(hidden, self.transformer.wte.weight)

    def loss(self, token_ids: Tensor, position_ids: Tensor, targets: Tensor, lengths: Sequence[int]) -> Tensor:
        """Summed negative log-likelihood in nats; targets of -100 do not count."""
        hidden = self.transformer(token_ids, position_ids, lengths)
        device = hidden.device.type
        if torch.is_autocast_enabled(device):
            hidden = hidden.to(torch.get_autocast_dtype(device))
        with torch.autocast(device, enabled=False):
            return chunked_cross_entropy(hidden, self.transformer.wte.weight, targets)
