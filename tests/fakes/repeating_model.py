"""A model without weights whose text repeats itself most of the time."""

from collections.abc import Sequence

import torch

from gpt2svc.models.chunk import Chunk
from tests.fakes.model import VOCAB_SIZE, HashModel, TokenCache


class RepeatingModel(HashModel):
    """The likeliest next token follows from the last two and, in each eleventh place, from the place as well.

    Likelier by so little that a draw often takes another one. `num_rows` has the rows of each call; the logits after a
    token in `numbing` are NaN.
    """

    def __init__(self, n_positions: int = 256, numbing: int | None = None) -> None:
        super().__init__(n_positions, numbing=numbing)
        self.num_rows: list[int] = []

    def forward(self, chunks: Sequence[Chunk], cache: TokenCache) -> torch.Tensor:
        self.num_rows.append(sum(len(chunk.token_ids) for chunk in chunks))
        logits = []
        for chunk in chunks:
            held = cache.slots[chunk.slot]
            if len(held) < chunk.start:
                raise AssertionError(f"slot {chunk.slot} holds {len(held)} tokens, not {chunk.start}")
            cache.slots[chunk.slot] = [*held[: chunk.start], *chunk.token_ids]
            end = chunk.start + len(chunk.token_ids)
            logits += [
                self._logits(cache.slots[chunk.slot][:length]) for length in range(end + 1 - chunk.num_logits, end + 1)
            ]
        return torch.stack(logits) if logits else torch.empty((0, VOCAB_SIZE))

    def _logits(self, token_ids: list[int]) -> torch.Tensor:
        row = torch.zeros(VOCAB_SIZE)
        row[next_token(token_ids)] = 6.0
        row[sum(token_ids) % VOCAB_SIZE] += 2.0  # every token of the text counts
        return row if token_ids[-1] != self._numbing else row * torch.nan


def next_token(token_ids: Sequence[int]) -> int:
    """The likeliest token after these: 10 to 17."""
    surprise = len(token_ids) if len(token_ids) % 11 == 0 else 0
    value = sum((token_id + 1) * 31**i for i, token_id in enumerate(token_ids[-2:]))
    return 10 + (value + surprise) % 8
