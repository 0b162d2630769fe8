"""Scorer: how likely a model finds given tokens, by the engine's own forward pass, many texts at once."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from gpt2svc.engine.model import Model
from gpt2svc.evaluation.windows import Window
from gpt2svc.models.chunk import Chunk

_MAX_ROWS: Final = 256  # of one forward pass: 51 MB of logits over GPT-2's vocabulary
_MAX_CHUNKS: Final = 32


@dataclass(frozen=True, slots=True)
class Score:
    """Sums over scored tokens. `nats` is their negative log-likelihood; `num_correct` were the model's first choice."""

    nats: float = 0.0
    num_tokens: int = 0
    num_correct: int = 0

    def __add__(self, other: "Score") -> "Score":
        return Score(self.nats + other.nats, self.num_tokens + other.num_tokens, self.num_correct + other.num_correct)


@dataclass(frozen=True, slots=True)
class _Piece:
    """What one forward pass computes of one window: its inputs from `start` to before `end`, in `slot`."""

    window: Window
    slot: int
    start: int
    end: int

    @property
    def chunk(self) -> Chunk:
        token_ids = self.window.token_ids[self.start : self.end].tolist()
        return Chunk(self.slot, self.start, token_ids, is_sampled=False, num_scored=len(self.targets))

    @property
    def targets(self) -> np.ndarray:
        return self.window.token_ids[max(self.start, self.window.num_context) + 1 : self.end + 1]


class Scorer:
    """Holds the KV cache of a few windows; not thread-safe."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._cache = model.new_cache(_MAX_CHUNKS)

    def score(self, windows: Iterable[Window], on_progress: Callable[[int], None] | None = None) -> Score:
        """Of all scored tokens of `windows`, exactly. `on_progress` hears how many inputs each pass has read."""
        total = Score()
        for pieces in _passes(windows):
            total = total + self._score(pieces)
            if on_progress is not None:
                on_progress(sum(piece.end - piece.start for piece in pieces))
        return total

    def _score(self, pieces: Sequence[_Piece]) -> Score:
        logits = self._model.forward([piece.chunk for piece in pieces], self._cache)
        if not len(logits):
            return Score()
        targets = torch.from_numpy(np.concatenate([piece.targets for piece in pieces])).to(logits.device)
        return _score_rows(logits, targets)


def _score_rows(logits: Tensor, targets: Tensor) -> Score:
    logits = logits.float()
    chosen = logits.gather(1, targets.unsqueeze(1)).squeeze(1)
    nats = torch.logsumexp(logits, dim=1) - chosen
    # Summed in double precision on the CPU: over millions of tokens float32 would lose digits, and MPS has no double.
    return Score(
        nats=float(nats.cpu().double().sum()),
        num_tokens=len(targets),
        num_correct=int((logits.argmax(dim=1) == targets).sum()),
    )


def _passes(windows: Iterable[Window]) -> Iterator[list[_Piece]]:
    """Windows in order, cut so that each pass is full; the one that a pass cuts goes on in the same slot."""
    pieces: list[_Piece] = []
    num_rows = 0
    for window in windows:
        start = 0
        taken = {piece.slot for piece in pieces}
        slot = next(slot for slot in range(_MAX_CHUNKS) if slot not in taken)
        while start < window.num_inputs:
            end = min(window.num_inputs, start + _MAX_ROWS - num_rows)
            pieces.append(_Piece(window, slot, start, end))
            num_rows += end - start
            start = end
            if num_rows == _MAX_ROWS or len(pieces) == _MAX_CHUNKS:
                yield pieces
                pieces, num_rows = [], 0
    if pieces:
        yield pieces
