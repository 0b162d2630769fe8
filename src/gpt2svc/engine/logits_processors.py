"""What changes logits before a token is chosen, for many sequences with settings of their own at once.

Each processor is built for the rows of a batch, acts in place on float32 logits (rows, vocab_size), and is left out of
a batch in which no row asks for it. Their order and arithmetic are those of transformers' `generate`; presence and
frequency penalties are those of OpenAI's API, over the reply only.
"""

from collections.abc import Sequence as Many
from typing import Protocol

import torch
from torch import Tensor

from gpt2svc.engine.sequence import Sequence
from gpt2svc.engine.token_history import TokenHistory


class History:
    """The history of the rows in this step; gathered once, and only when a processor wants it."""

    def __init__(self, store: TokenHistory, slots: Tensor, lengths: Many[int]) -> None:
        self._store = store
        self.slots = slots
        self.lengths = lengths  # of prompt and reply, per row
        self._token_ids: Tensor | None = None

    @property
    def token_ids(self) -> Tensor:
        """(rows, longest) prompt and reply, padded with the row's first token."""
        if self._token_ids is None:
            self._token_ids = self._store.token_ids(self.slots, max(self.lengths))
        return self._token_ids

    @property
    def reply_counts(self) -> Tensor:
        """(rows, longest): how often each of `token_ids` stands in the row's reply."""
        return self._store.counts(self.slots, self.token_ids)


class LogitsProcessor(Protocol):
    def __call__(self, logits: Tensor, history: History) -> None: ...


class LogitBias:
    """Adds a number to the logits of given tokens."""

    def __init__(self, sequences: Many[Sequence], device: torch.device) -> None:
        entries = [(row, *pair) for row, seq in enumerate(sequences) for pair in seq.request.params.logit_bias]
        self._rows = torch.tensor([row for row, _, _ in entries], device=device)
        self._token_ids = torch.tensor([token_id for _, token_id, _ in entries], device=device)
        self._values = torch.tensor([value for _, _, value in entries], dtype=torch.float32, device=device)

    def __call__(self, logits: Tensor, history: History) -> None:
        logits.index_put_((self._rows, self._token_ids), self._values, accumulate=True)


class RepetitionPenalty:
    """Divides positive and multiplies negative logits of tokens in the prompt or the reply (Keskar et al. 2019)."""

    def __init__(self, sequences: Many[Sequence], device: torch.device) -> None:
        self._penalties = _column([seq.request.params.repetition_penalty for seq in sequences], device)

    def __call__(self, logits: Tensor, history: History) -> None:
        scores = logits.gather(1, history.token_ids)
        scores = torch.where(scores < 0, scores * self._penalties, scores / self._penalties)
        logits.scatter_(1, history.token_ids, scores)


class PresenceAndFrequencyPenalty:
    """Subtracts presence_penalty once, and frequency_penalty a time, from the logits of tokens in the reply."""

    def __init__(self, sequences: Many[Sequence], device: torch.device) -> None:
        self._presence = _column([seq.request.params.presence_penalty for seq in sequences], device)
        self._frequency = _column([seq.request.params.frequency_penalty for seq in sequences], device)

    def __call__(self, logits: Tensor, history: History) -> None:
        counts = history.reply_counts
        scores = logits.gather(1, history.token_ids)
        scores = scores - (self._frequency * counts + self._presence * (counts > 0))
        logits.scatter_(1, history.token_ids, scores)


class NoRepeatNGram:
    """Bans each token that would complete a run of n tokens that the prompt or the reply already has."""

    def __init__(self, sequences: Many[Sequence], device: torch.device) -> None:
        self._device = device
        self._sizes: dict[int, list[int]] = {}
        for row, seq in enumerate(sequences):
            if seq.request.params.no_repeat_ngram_size:
                self._sizes.setdefault(seq.request.params.no_repeat_ngram_size, []).append(row)

    def __call__(self, logits: Tensor, history: History) -> None:
        for size, all_rows in self._sizes.items():
            rows = [row for row in all_rows if history.lengths[row] >= size]
            if rows:
                self._ban(logits, history, size, rows)

    def _ban(self, logits: Tensor, history: History, size: int, rows: list[int]) -> None:
        row_ids = torch.tensor(rows, device=self._device)
        lengths = torch.tensor([history.lengths[row] for row in rows], device=self._device).unsqueeze(1)
        token_ids = history.token_ids[row_ids]  # (rows, longest)
        num_starts = token_ids.shape[1] - size + 1
        starts = torch.arange(num_starts, device=self._device)
        is_repeated = starts <= lengths - size  # runs that end inside the row
        for i in range(size - 1):  # do they begin with the row's last size - 1 tokens?
            recent = token_ids.gather(1, lengths - (size - 1) + i)
            is_repeated &= token_ids[:, i : i + num_starts] == recent
        row, start = is_repeated.nonzero(as_tuple=True)
        logits[row_ids[row], token_ids[row, start + size - 1]] = -torch.inf


class MinNewTokens:
    """Bans the stop tokens of replies that are still shorter than min_new_tokens."""

    def __init__(self, sequences: Many[Sequence], device: torch.device) -> None:
        self._sequences = sequences
        self._device = device

    def __call__(self, logits: Tensor, history: History) -> None:
        rows: list[int] = []
        token_ids: list[int] = []
        for row, seq in enumerate(self._sequences):
            params = seq.request.params
            if seq.num_new_tokens < params.min_new_tokens:
                rows.extend([row] * len(params.stop_token_ids))
                token_ids.extend(params.stop_token_ids)
        if rows:
            where = (torch.tensor(rows, device=self._device), torch.tensor(token_ids, device=self._device))
            logits.index_put_(where, torch.full((), -torch.inf, device=self._device))


def new_logits_processors(sequences: Many[Sequence], device: torch.device) -> list[LogitsProcessor]:
    """Those that some row asks for, in the order in which they act."""
    params = [seq.request.params for seq in sequences]
    processors: list[LogitsProcessor] = []
    if any(p.logit_bias for p in params):
        processors.append(LogitBias(sequences, device))
    if any(p.repetition_penalty != 1 for p in params):
        processors.append(RepetitionPenalty(sequences, device))
    if any(p.presence_penalty or p.frequency_penalty for p in params):
        processors.append(PresenceAndFrequencyPenalty(sequences, device))
    if any(p.no_repeat_ngram_size for p in params):
        processors.append(NoRepeatNGram(sequences, device))
    if any(p.min_new_tokens and p.stop_token_ids for p in params):
        processors.append(MinNewTokens(sequences, device))
    return processors


def _column(values: Many[float], device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=device).unsqueeze(1)
