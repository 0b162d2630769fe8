"""The size of a model to be trained."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelShape:
    """GPT-2's configuration names; the defaults are what the from-scratch recipes use."""

    vocab_size: int = 8192
    n_positions: int = 1024
    n_embd: int = 384
    n_layer: int = 6
    n_head: int = 8
    dropout: float = 0.0
