"""One group of beams: which go on, which have ended, and when the search is over. Torch-free.

Step by step the rules and the float32 arithmetic of transformers' `_beam_search`, so that the tokens are the same.
"""

import ctypes
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gpt2svc.engine.sampling_params import EarlyStopping
from gpt2svc.engine.types import Hypothesis, TokenLogprobs


class Candidate(NamedTuple):
    """A live beam with one more token."""

    score: float  # sum of log-probabilities, after penalties; float32
    parent: int  # index among the group's live beams
    token_id: int
    logprobs: TokenLogprobs | None = None


@dataclass(frozen=True, slots=True)
class Beam:
    """A continuation that goes on. `parent` is the index of the beam that it was, among those of the step before."""

    score: float
    token_ids: tuple[int, ...]  # the new ones
    logprobs: tuple[TokenLogprobs, ...] = ()
    parent: int = 0


class BeamGroup:
    """`live` beams, likeliest first: one at the start, then `num_beams` of them, and `finished` hypotheses, best first.

    A hypothesis is finished by a stop token or by the length; it counts only where its candidate was among the
    `num_beams` best of its step. `max_new_tokens` (at least 1) is how long the new part may become.
    """

    def __init__(
        self,
        num_beams: int,
        *,
        max_new_tokens: int,
        stop_token_ids: Collection[int],
        length_penalty: float,
        early_stopping: EarlyStopping,
    ) -> None:
        self.num_beams = num_beams
        # Even if every beam meets every stop token, as many candidates are left to go on with.
        self.num_candidates = max(2, 1 + len(stop_token_ids)) * num_beams
        self.live: list[Beam] = [Beam(0.0, ())]
        self.finished: list[Hypothesis] = []
        self.is_done = False
        self._stop_token_ids = frozenset(stop_token_ids)
        self._max_new_tokens = max_new_tokens
        self._length_penalty = length_penalty
        self._early_stopping = early_stopping
        self._length = 0

    def update(self, candidates: Sequence[Candidate]) -> list[int]:
        """One step on, with the best `num_candidates` of all continuations, best first; there may be fewer.

        Returns the tokens that the group has chosen: those of its live beams, in the last step of the finished ones.
        """
        parents = self.live
        self._length += 1
        is_last = self._length >= self._max_new_tokens
        best = candidates[: self.num_beams]
        for candidate in best:
            if is_last or candidate.token_id in self._stop_token_ids:
                self.finished.append(self._hypothesis(parents[candidate.parent], candidate))
        self.finished.sort(key=lambda hypothesis: -hypothesis.score)
        del self.finished[self.num_beams :]
        going_on = [c for c in candidates if c.token_id not in self._stop_token_ids][: self.num_beams]
        self.live = [] if is_last else [_extended(parents[c.parent], c) for c in going_on]
        self.is_done = not self.live or not self._can_improve()
        if self.is_done:
            self.live = []
        return [c.token_id for c in (best if is_last else going_on)]

    def _can_improve(self) -> bool:
        if len(self.finished) < self.num_beams:
            return True
        if self._early_stopping is True:
            return False
        length = self._length
        if self._early_stopping == "never" and self._length_penalty > 0:
            length = self._max_new_tokens
        return self._score(self.live[0].score, length) > self.finished[-1].score

    def _hypothesis(self, parent: Beam, last: Candidate) -> Hypothesis:
        beam = _extended(parent, last)
        return Hypothesis(
            token_ids=beam.token_ids,
            score=self._score(last.score, self._length),
            finish_reason="stop" if last.token_id in self._stop_token_ids else "length",
            logprobs=beam.logprobs if last.logprobs is not None else None,
        )

    def _score(self, total: float, length: int) -> float:
        return _float32(total / _float32(length**self._length_penalty))


def _extended(parent: Beam, candidate: Candidate) -> Beam:
    logprobs = parent.logprobs if candidate.logprobs is None else (*parent.logprobs, candidate.logprobs)
    return Beam(candidate.score, (*parent.token_ids, candidate.token_id), logprobs, candidate.parent)


def _float32(value: float) -> float:
    return ctypes.c_float(value).value
