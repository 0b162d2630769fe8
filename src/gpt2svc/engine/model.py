"""What the engine asks of a model: GPT2 (models/gpt2.py) has it, and tests bring smaller ones."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch

from gpt2svc.models.chunk import Chunk
from gpt2svc.models.head_scorer import HeadScorer


class Cache(Protocol):
    """The memory behind the slots of a KV cache."""

    @property
    def num_bytes(self) -> int:
        """With all slots full."""
        ...

    def copy_prefix(self, source: int, target: int, num_tokens: int) -> None:
        """Copy the first `num_tokens` positions of a slot to another."""
        ...

    def copy_positions(self, source: int, target: int, start: int, end: int) -> None:
        """Copy the positions from `start` to before `end` of a slot to another, and touch no other position of it."""
        ...


class Model(Protocol):
    n_positions: int
    vocab_size: int
    device: torch.device
    head: HeadScorer | None  # of a task, where the model was trained for one
    is_language_model: bool

    def new_cache(self, num_slots: int) -> Any:
        """An empty Cache of the kind that `forward` takes."""
        ...

    def forward(self, chunks: Sequence[Chunk], cache: Any) -> torch.Tensor:
        """Floating-point logits (num_sampled, vocab_size), those after each chunk's last `num_logits` rows."""
        ...

    def forward_with_hidden(self, chunks: Sequence[Chunk], cache: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """As `forward`, and the last hidden states (num_pooled, n_embd) of each chunk's last `num_pooled` rows."""
        ...
