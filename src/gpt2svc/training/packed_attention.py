"""Causal attention over a stream of documents that never see each other, without a (T, T) mask.

Short documents of like length are attended together, padded at the end: a causal mask alone keeps the padding out,
since it comes after every real token. Long ones go one by one through the fused kernel. On 2 cores in bfloat16 this
takes a third of the time of the fused kernel for documents of about 60 tokens, and a fifth of that of a dense mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from gpt2svc.models.rounding import round_up

NAME = "gpt2svc_packed"  # under which transformers knows it
SHORT = 128  # tokens up to which documents are attended together
ROUNDED_TO = 16


@dataclass(frozen=True)
class PackedLayout:
    """Where each document of a stream goes: rows of equal length for short ones, places of their own for the rest."""

    gather: Tensor  # place in the stream for each place of the rearranged stream; padding repeats place 0
    scatter: Tensor  # the way back
    groups: tuple[tuple[int, int], ...]  # (documents, length) in rearranged order: attended together

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device) -> PackedLayout:
        starts = [0]
        for length in lengths:
            starts.append(starts[-1] + length)
        by_length: dict[int, list[int]] = {}
        for index, length in enumerate(lengths):
            rounded = round_up(length, ROUNDED_TO)
            by_length.setdefault(rounded if length <= SHORT else length, []).append(index)
        gather, scatter = [], torch.empty(starts[-1], dtype=torch.long)
        groups = []
        place = 0
        for length, members in by_length.items():
            groups.append((len(members), length))
            for index in members:
                row = torch.zeros(length, dtype=torch.long)
                row[: lengths[index]] = torch.arange(starts[index], starts[index + 1])
                gather.append(row)
                scatter[starts[index] : starts[index + 1]] = torch.arange(place, place + lengths[index])
                place += length
        return cls(torch.cat(gather).to(device), scatter.to(device), tuple(groups))


def packed_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    layout: PackedLayout,
    dropout: float = 0.0,
    scaling: float = 1.0,
    **rest: Any,
) -> tuple[Tensor, None]:
    """transformers' attention interface: query, key and value (1, H, T, D), the result (1, T, H, D)."""
    num_heads, width = query.shape[1], query.shape[3]
    together = torch.stack([query[0], key[0], value[0]]).index_select(2, layout.gather)  # (3, H, T', D)
    outputs = []
    start = 0
    for num_documents, length in layout.groups:
        part = together[:, :, start : start + num_documents * length].view(3, num_heads, num_documents, length, width)
        start += num_documents * length
        if length <= SHORT:
            outputs.append(_attend(part[0], part[1], part[2], dropout, scaling).reshape(num_heads, -1, width))
            continue
        rows = part.transpose(1, 2)  # (3, N, H, L, D)
        fused = functional.scaled_dot_product_attention(
            rows[0], rows[1], rows[2], is_causal=True, dropout_p=dropout, scale=scaling
        )
        outputs.append(fused.transpose(0, 1).reshape(num_heads, -1, width))
    attended = torch.cat(outputs, dim=1).index_select(1, layout.scatter)  # (H, T, D)
    return attended.transpose(0, 1)[None], None


def _attend(query: Tensor, key: Tensor, value: Tensor, dropout: float, scaling: float) -> Tensor:
    length = query.shape[-2]
    is_later = torch.ones(length, length, dtype=torch.bool, device=query.device).triu(1)
    scores = (query * scaling) @ key.transpose(-1, -2)
    weights = scores.masked_fill(is_later, float("-inf")).softmax(dim=-1).to(value.dtype)
    return functional.dropout(weights, dropout) @ value
