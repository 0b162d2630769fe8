"""The rows of a sampling step: their settings as tensors, and which rows go which way."""

import math
from typing import Final, NamedTuple

import torch
from torch import Tensor

from gpt2svc.engine.candidates import largest
from gpt2svc.engine.choice import Filters, choose_bounded, choose_typical, choose_unbounded
from gpt2svc.engine.logits_processors import History, new_logits_processors
from gpt2svc.engine.logprobs import token_logprobs
from gpt2svc.engine.randomness import uniform
from gpt2svc.engine.sampling_params import SamplingParams
from gpt2svc.engine.sequence import Sequence
from gpt2svc.engine.token_history import TokenHistory
from gpt2svc.engine.types import TokenLogprobs

NOT_A_NUMBER: Final = "The model's output is not a number: its weights are damaged, or too large for this dtype."
NOTHING_LEFT: Final = "The settings leave no token to choose from."


class SampledToken(NamedTuple):
    token_id: int
    logprobs: TokenLogprobs | None = None
    error: str | None = None  # no token could be chosen: why


class SamplingBatch:
    """Good for as many steps as the same sequences are sampled in the same order, each by one token a step."""

    def __init__(self, sequences: list[Sequence], vocab_size: int, history: TokenHistory, device: torch.device) -> None:
        self.sequences = sequences
        self._device = device
        self._history = history
        self._processors = new_logits_processors(sequences, device)
        params = [sequence.request.params for sequence in sequences]
        self._seeds = [p.seed for p in params]
        self._temperatures: Tensor | None = None
        if any(p.temperature not in (0, 1) for p in params):
            values = [p.temperature or 1.0 for p in params]
            self._temperatures = torch.tensor(values, dtype=torch.float32, device=device).unsqueeze(1)
        ways = [_way(p) for p in params]
        self._groups = [
            (
                choose,
                rows,
                torch.tensor(rows, device=device),
                Filters([params[row] for row in rows], vocab_size, device),
            )
            for choose in (choose_bounded, choose_unbounded, choose_typical)
            if (rows := [row for row, way in enumerate(ways) if way is choose])
        ]
        greedy = [row for row, way in enumerate(ways) if way is None]
        self._greedy = torch.tensor(greedy, device=device) if greedy else None

        counts = [(row, p.logprobs) for row, p in enumerate(params) if p.logprobs is not None]
        self._logprob_rows = [row for row, _ in counts]
        self._logprob_index = torch.tensor(self._logprob_rows, device=device)
        self._logprob_counts = [count for _, count in counts]

        self._is_counted = any(p.presence_penalty or p.frequency_penalty for p in params)
        self._has_history = self._is_counted or any(p.repetition_penalty != 1 or p.no_repeat_ngram_size for p in params)
        self._slots = torch.tensor([sequence.slot for sequence in sequences], device=device)
        if self._has_history:
            for sequence in sequences:
                history.follow(sequence, is_counted=self._is_counted)

    def sample(self, logits: Tensor) -> list[SampledToken]:
        """The next token of each sequence: logits (rows, vocab_size), which may be overwritten."""
        lengths = [len(sequence.token_ids) for sequence in self.sequences]
        raw = logits[self._logprob_index].float() if self._logprob_rows else None
        scores = logits.float()
        history = History(self._history, self._slots, lengths)
        for processor in self._processors:
            processor(scores, history)
        if self._temperatures is not None:
            scores /= self._temperatures
        token_ids = self._choose(scores, lengths)
        if self._has_history:
            self._history.append(
                self.sequences,
                self._slots,
                self._moved(torch.tensor(lengths)),
                token_ids,
                is_counted=self._is_counted,
            )
        return self._sampled(token_ids, scores, raw)

    def _choose(self, scores: Tensor, lengths: list[int]) -> Tensor:
        if not self._groups:
            return largest(scores)
        token_ids = torch.empty(len(lengths), dtype=torch.int64, device=self._device)
        if self._greedy is not None:
            token_ids[self._greedy] = largest(scores[self._greedy])
        for choose, rows, index, filters in self._groups:
            draws = [uniform(self._seeds[row], lengths[row]) for row in rows]
            uniforms = self._moved(torch.tensor(draws, dtype=torch.float64)).unsqueeze(1)
            is_all = len(rows) == len(lengths)
            chosen = choose(scores if is_all else scores[index], filters, uniforms)
            if is_all:
                return chosen
            token_ids[index] = chosen
        return token_ids

    def _sampled(self, token_ids: Tensor, scores: Tensor, raw: Tensor | None) -> list[SampledToken]:
        chosen_scores = scores.gather(1, token_ids.unsqueeze(1)).squeeze(1).tolist()
        sampled = []
        for token_id, score in zip(token_ids.tolist(), chosen_scores, strict=True):
            error = None if math.isfinite(score) else _unusable(score)
            sampled.append(SampledToken(token_id, error=error))
        if raw is not None:
            logprobs = token_logprobs(raw, token_ids[self._logprob_index], self._logprob_counts)
            for row, values in zip(self._logprob_rows, logprobs, strict=True):
                sampled[row] = sampled[row]._replace(logprobs=values)
        return sampled

    def _moved(self, numbers: Tensor) -> Tensor:
        """To the device, without waiting for what it still has to do."""
        return numbers.to(self._device, non_blocking=True)


def _way(params: SamplingParams) -> object:
    """The function that chooses for such a row; None is greedy."""
    if params.is_greedy:
        return None
    if params.top_k > 0:
        return choose_bounded
    if params.typical_p < 1 and params.top_p >= 1 and params.min_p == 0:
        return choose_typical
    return choose_unbounded


def _unusable(score: float) -> str:
    if score == -math.inf:
        return NOTHING_LEFT
    return NOT_A_NUMBER
