"""Filters of the distribution (top-k, top-p, min-p, typical-p) and the draw from what they keep.

All of it works on candidates: values (rows, width) float32 by value descending and id ascending. Sums are running sums
in float64, so that a row's result is the same whatever the width and whoever shares the batch. The kept sets are those
of transformers' processors.
"""

import torch
from torch import Tensor


def total_of(weights: Tensor) -> Tensor:
    """(rows, 1): the last running sum, which trailing zeros don't change."""
    return weights.cumsum(-1)[:, -1:]


def keep_top_k(values: Tensor, top_k: Tensor) -> Tensor:
    """Tokens at least as likely as the k-th: top_k (rows, 1), 1 to width, to (rows, width) bool."""
    return values >= values.gather(1, top_k - 1)


def keep_top_p(values: Tensor, weights: Tensor, total: Tensor, top_p: Tensor) -> tuple[Tensor, Tensor]:
    """The likeliest tokens that together reach top_p of `total`, and the last kept value (rows, 1).

    `weights` (rows, width) are 0 where an earlier filter dropped the token. Among equally likely tokens at the
    border the lowest ids stay (in transformers that is left to an unstable sort). A top_p of 1 keeps all.
    """
    above = weights.cumsum(-1) - weights
    count = (above < torch.where(top_p < 1, top_p * total, torch.inf)).sum(-1, keepdim=True).clamp(min=1)
    place = torch.arange(values.shape[1], device=values.device)
    return place < count, values.gather(1, count - 1)


def keep_min_p(weights: Tensor, min_p: Tensor) -> Tensor:
    """Tokens with at least min_p of the likeliest one's probability, whose weight is 1."""
    return weights >= min_p


def keep_typical(weights: Tensor, typical_p: Tensor) -> Tensor:
    """Tokens whose surprise is nearest to the expected one, up to the probability typical_p (Meister et al. 2022)."""
    probabilities = weights / total_of(weights)
    surprises = -probabilities.log()  # infinite where an earlier filter dropped the token
    expected = total_of(torch.where(weights > 0, probabilities * surprises, 0.0))
    distances = (surprises - expected).abs()
    order = distances.argsort(dim=-1, stable=True)
    mass = probabilities.gather(1, order).cumsum(-1)
    last = (mass < typical_p).sum(-1, keepdim=True).clamp(max=weights.shape[1] - 1)
    border = distances.gather(1, order).gather(1, last)
    return (distances <= border) | (typical_p >= 1)


def draw(weights: Tensor, total: Tensor, uniforms: Tensor) -> Tensor:
    """The place where the running sum of weights passes uniforms (rows, 1) * total: (rows,).

    That is the inverse of the cumulative distribution, over candidates in their order.
    """
    target = uniforms * total
    place = (weights.cumsum(-1) <= target).sum(-1)
    # Rounding can put the target at the very end: the last kept token is meant.
    places = torch.arange(weights.shape[1], device=weights.device)
    last = torch.where(weights > 0, places, 0).amax(-1)
    return torch.minimum(place, last)
