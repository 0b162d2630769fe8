"""AdamW and the cosine schedule."""

from __future__ import annotations

import math

import torch
from torch import nn

from gpt2svc.training.recipe import Optimisation


def build_optimizer(model: nn.Module, settings: Optimisation) -> torch.optim.AdamW:
    """Matrices of the projections decay; norms, biases and embeddings don't."""
    decayed: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        is_matrix = parameter.dim() >= 2 and not name.endswith(("wte.weight", "wpe.weight"))
        (decayed if is_matrix else kept).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": kept, "weight_decay": 0.0},
    ]
    betas = (settings.adam_beta1, settings.adam_beta2)
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=betas, eps=1e-8, fused=True)


def learning_rate_at(step: int, num_steps: int, settings: Optimisation) -> float:
    """Linear warm-up, then a cosine down to `min_learning_rate_share`; `step` counts from 0."""
    warmup = min(settings.warmup_steps, max(num_steps - 1, 0))
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(num_steps - 1 - warmup, 1)
    cosine = 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))
    floor = settings.min_learning_rate_share
    return settings.learning_rate * (floor + (1.0 - floor) * cosine)
