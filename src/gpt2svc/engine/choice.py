"""Choosing a token for each row of processed logits: candidates, filters, draw."""

from collections.abc import Sequence as Many
from typing import Final

import torch
from torch import Tensor

from gpt2svc.engine.candidates import ordered, top_candidates
from gpt2svc.engine.filters import draw, keep_min_p, keep_top_k, keep_top_p, keep_typical, total_of
from gpt2svc.engine.sampling_params import SamplingParams

# Candidates beyond top_k, for tokens as likely as the k-th; more ties than that are found in a second look.
_TIE_ROOM: Final = 14
_FIRST_WIDTH: Final = 256  # candidates of rows without top_k, at first
_WIDENING: Final = 8
_SUM_BLOCK: Final = 32


class Filters:
    """Settings of rows as columns (rows, 1); None where no row asks."""

    def __init__(self, params: Many[SamplingParams], vocab_size: int, device: torch.device) -> None:
        top_k = [min(p.top_k, vocab_size) for p in params]
        self.max_top_k = max(top_k)
        self.top_k = torch.tensor(top_k, device=device).unsqueeze(1)
        self.top_p = _column([p.top_p for p in params], 1.0, device)
        self.min_p = _column([p.min_p for p in params], 0.0, device)
        self.typical_p = _column([p.typical_p for p in params], 1.0, device)
        # Rows that may take any token: their draw is over the whole vocabulary.
        self.is_open = torch.tensor([p.top_p >= 1 and p.min_p == 0 for p in params], device=device).unsqueeze(1)

    def keep(self, values: Tensor, weights: Tensor, total: Tensor) -> Tensor:
        """`weights` of candidates, 0 where a filter drops the token; `total` is that of the row's whole vocabulary."""
        if self.top_p is not None:
            is_kept, _ = keep_top_p(values, weights, total, self.top_p)
            weights = torch.where(is_kept, weights, 0.0)
        if self.min_p is not None:
            weights = torch.where(keep_min_p(weights, self.min_p), weights, 0.0)
        if self.typical_p is not None:
            weights = torch.where(keep_typical(weights, self.typical_p), weights, 0.0)
        return weights


def choose_bounded(scores: Tensor, filters: Filters, uniforms: Tensor) -> Tensor:
    """Rows with top-k, and perhaps other filters: scores (rows, vocab_size) float32, uniforms (rows, 1) to (rows,)."""
    vocab_size = scores.shape[1]
    width = min(vocab_size, filters.max_top_k + _TIE_ROOM)
    while True:
        values, token_ids = top_candidates(scores, width)
        border = values.gather(1, filters.top_k - 1)
        if width == vocab_size or bool(((border > values[:, -1:]) | (border == -torch.inf)).all()):
            break
        width = min(vocab_size, width * _WIDENING)
    weights = torch.where(keep_top_k(values, filters.top_k), _weights(values), 0.0)
    weights = filters.keep(values, weights, total_of(weights))
    return _chosen(token_ids, weights, total_of(weights), uniforms)


def choose_unbounded(scores: Tensor, filters: Filters, uniforms: Tensor) -> Tensor:
    """Rows without top-k: more candidates until each row's last kept token is among them."""
    vocab_size = scores.shape[1]
    whole = _vocabulary_total(scores)
    width = min(vocab_size, _FIRST_WIDTH)
    while True:
        values, token_ids = top_candidates(scores, width)
        weights = _weights(values)
        if width == vocab_size or bool(_is_complete(values, weights, whole, filters, uniforms).all()):
            break
        width = min(vocab_size, width * _WIDENING)
    weights = filters.keep(values, weights, whole)
    return _chosen(token_ids, weights, torch.where(filters.is_open, whole, total_of(weights)), uniforms)


def choose_typical(scores: Tensor, filters: Filters, uniforms: Tensor) -> Tensor:
    """Rows whose only filter is typical-p: the nearest to the expected surprise are seldom the likeliest."""
    vocab_size = scores.shape[1]
    weights = _weights(scores, scores.amax(-1, keepdim=True))
    probabilities = weights / total_of(weights)
    surprises = -probabilities.log()
    expected = total_of(torch.where(probabilities > 0, probabilities * surprises, 0.0))
    distances = (surprises - expected).abs()
    typical_p = torch.ones_like(uniforms) if filters.typical_p is None else filters.typical_p
    width = min(vocab_size, _FIRST_WIDTH)
    while True:
        nearness, token_ids = (-distances).topk(width)
        mass = probabilities.gather(1, token_ids).cumsum(-1)
        last = (mass < typical_p).sum(-1, keepdim=True).clamp(max=width - 1)
        border = nearness.gather(1, last)
        if width == vocab_size or bool((border > nearness[:, -1:]).all()):
            break
        width = min(vocab_size, width * _WIDENING)
    values = torch.where(nearness >= border, scores.gather(1, token_ids), -torch.inf)
    values, token_ids = ordered(values, token_ids)
    weights = _weights(values)
    return _chosen(token_ids, weights, total_of(weights), uniforms)


def _is_complete(values: Tensor, weights: Tensor, whole: Tensor, filters: Filters, uniforms: Tensor) -> Tensor:
    """Whether wider candidates could change nothing: (rows, 1)."""
    is_complete = weights.cumsum(-1)[:, -1:] > uniforms * whole
    if filters.min_p is not None:
        is_complete = torch.where(filters.min_p > 0, weights[:, -1:] < filters.min_p, is_complete)
    if filters.top_p is not None:
        _, border = keep_top_p(values, weights, whole, filters.top_p)
        is_complete = torch.where(filters.top_p < 1, border > values[:, -1:], is_complete)
    return is_complete


def _weights(values: Tensor, likeliest: Tensor | None = None) -> Tensor:
    """Probabilities in float64, relative to that of the likeliest token (by default the first)."""
    largest = values[:, :1] if likeliest is None else likeliest
    return (values.double() - largest.double()).exp()


def _vocabulary_total(scores: Tensor) -> Tensor:
    """Sum of the relative probabilities of the whole vocabulary: (rows, 1) float64.

    Summed in fixed blocks: the sum of one long row alone would be cut up among threads, with other rounding.
    """
    relative = (scores - scores.amax(-1, keepdim=True)).exp()
    size = relative.shape[1] // _SUM_BLOCK * _SUM_BLOCK
    blocks = relative[:, :size].view(len(relative), -1, _SUM_BLOCK).sum(-1)
    return total_of(torch.cat((blocks, relative[:, size:]), 1).double())


def _chosen(token_ids: Tensor, weights: Tensor, total: Tensor, uniforms: Tensor) -> Tensor:
    return token_ids.gather(1, draw(weights, total, uniforms).unsqueeze(1)).squeeze(1)


def _column(values: Many[float], neutral: float, device: torch.device) -> Tensor | None:
    if all(value == neutral for value in values):
        return None
    return torch.tensor(values, dtype=torch.float64, device=device).unsqueeze(1)
