"""A model without weights whose next token depends on every token that its slot of the cache holds."""

from collections.abc import Sequence

import torch

from gpt2svc.models.chunk import Chunk

VOCAB_SIZE = 50


class TokenCache:
    """Remembers the tokens themselves where a real cache keeps keys and values."""

    def __init__(self, num_slots: int) -> None:
        self.slots: list[list[int]] = [[] for _ in range(num_slots)]
        self.num_bytes = 0
        self.copies: list[tuple[int, int, int]] = []

    def copy_prefix(self, source: int, target: int, num_tokens: int) -> None:
        self.copies.append((source, target, num_tokens))
        self.slots[target] = self.slots[source][:num_tokens]

    def copy_positions(self, source: int, target: int, start: int, end: int) -> None:
        self.copies.append((source, target, end - start))
        self.slots[target] = [*self.slots[target][:start], *self.slots[source][start:end]]


class HashModel:
    """Deterministic; `calls` holds (slot, start, number of tokens) of each chunk, call by call.

    A token in `poison` makes the call fail that computes it; the logits after a token in `numbing` are NaN.
    """

    def __init__(self, n_positions: int = 64, poison: int | None = None, numbing: int | None = None) -> None:
        self.n_positions = n_positions
        self.vocab_size = VOCAB_SIZE
        self.device = torch.device("cpu")
        self.head = None
        self.is_language_model = True
        self.calls: list[list[tuple[int, int, int]]] = []
        self._poison = poison
        self._numbing = numbing

    def new_cache(self, num_slots: int) -> TokenCache:
        return TokenCache(num_slots)

    def forward(self, chunks: Sequence[Chunk], cache: TokenCache) -> torch.Tensor:
        self.calls.append([(chunk.slot, chunk.start, len(chunk.token_ids)) for chunk in chunks])
        logits = []
        for chunk in chunks:
            if self._poison in chunk.token_ids:
                raise RuntimeError("out of memory")
            held = cache.slots[chunk.slot]
            if len(held) < chunk.start:
                raise AssertionError(f"slot {chunk.slot} holds {len(held)} tokens, not {chunk.start}")
            cache.slots[chunk.slot] = [*held[: chunk.start], *chunk.token_ids]
            end = chunk.start + len(chunk.token_ids)
            for length in range(end + 1 - chunk.num_logits, end + 1):
                before = cache.slots[chunk.slot][:length]
                row = torch.zeros(VOCAB_SIZE)
                row[next_token(before)] = 5.0
                logits.append(row if before[-1] != self._numbing else row * torch.nan)
        return torch.stack(logits) if logits else torch.empty((0, VOCAB_SIZE))


def next_token(token_ids: Sequence[int]) -> int:
    """The likeliest token after these: 10 to 49, so that tests have ten tokens of their own."""
    value = 7
    for token_id in token_ids:
        value = (value * 31 + token_id + 1) % 1_000_003
    return 10 + value % 40


def greedy_reply(prompt: Sequence[int], count: int) -> tuple[int, ...]:
    """What a correct engine answers."""
    token_ids = list(prompt)
    for _ in range(count):
        token_ids.append(next_token(token_ids))
    return tuple(token_ids[len(prompt) :])
