"""What the engine asks of a model; GPT2 (models/gpt2.py) is one, tests bring smaller ones."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch


class Chunk(NamedTuple):
    """The next rows of one sequence: its tokens from position `start` on, written to `slot` of the cache."""

    slot: int
    start: int
    token_ids: Sequence[int]  # one of a decoding sequence, up to the step's budget of a prompt
    is_sampled: bool  # the logits of the chunk's last row are wanted


class Model(Protocol):
    """`forward` returns float logits (num_sampled, vocab_size), in the order of the sampled chunks."""

    n_positions: int
    vocab_size: int
    device: torch.device

    def new_cache(self, num_slots: int) -> Any: ...

    def forward(self, chunks: Sequence[Chunk], cache: Any) -> torch.Tensor: ...

    def copy_prefix(self, cache: Any, source: int, target: int, num_tokens: int) -> None: ...
