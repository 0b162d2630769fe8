"""transformers' GPT-2 with a forward pass for packed documents and a loss that never holds all logits at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor
from transformers import AttentionInterface, GPT2LMHeadModel

from gpt2svc.training.chunked_loss import chunked_cross_entropy
from gpt2svc.training.packed_attention import NAME, PackedLayout, packed_attention


class PackedGpt2(GPT2LMHeadModel):  # type: ignore[no-untyped-call]
    """Saved and loaded as `GPT2LMHeadModel`: only `forward` differs."""

    @classmethod
    def register_attention(cls) -> None:
        """Once a process, before a model is made with the attention implementation `NAME`."""
        AttentionInterface.register(NAME, packed_attention)

    def forward(self, input_ids: Tensor, position_ids: Tensor, lengths: Sequence[int], shift_labels: Tensor) -> Tensor:
        """Summed negative log-likelihood in nats of a stream of documents: see `PackedBatches.collate`."""
        hidden = self.hidden_states(input_ids, position_ids, lengths)
        with torch.autocast(hidden.device.type, enabled=False):
            return chunked_cross_entropy(hidden[0], self.lm_head.weight, shift_labels[0])

    def hidden_states(self, input_ids: Tensor, position_ids: Tensor, lengths: Sequence[int]) -> Tensor:
        """(1, T, C), in the precision of autocast where that is on."""
        layout = PackedLayout.of(lengths, input_ids.device)
        output: Any = self.transformer(input_ids, position_ids=position_ids, use_cache=False, layout=layout)
        hidden = cast(Tensor, output.last_hidden_state)
        kind = hidden.device.type
        return hidden.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else hidden
