"""Which sequences run in the next step, and how many tokens of each. Torch-free."""

import time
from collections import Counter, deque
from typing import NamedTuple

from gpt2svc.engine.config import EngineConfig
from gpt2svc.engine.kv_cache import KVCache
from gpt2svc.engine.sequence import NO_SLOT, Sequence
from gpt2svc.errors import EngineError


class Scheduled(NamedTuple):
    sequence: Sequence
    num_tokens: int  # the next uncomputed ones
    draft: tuple[int, ...] = ()  # guesses at those after them, computed along

    @property
    def is_sampled(self) -> bool:
        """Whether the step reaches the sequence's end, so that a next token can be sampled."""
        return self.num_tokens == self.sequence.num_uncomputed_tokens

    @property
    def num_scored(self) -> int:
        """After how many of the last rows logits are wanted to score the prompt by."""
        scoring = self.sequence.request.scoring
        start = self.sequence.num_computed_tokens
        if scoring is None or start >= len(self.sequence.request.prompt_token_ids):
            return 0
        return max(0, start + self.num_tokens - max(start, scoring.start - 1))

    @property
    def num_pooled(self) -> int:
        """Of how many of the last rows the hidden states are wanted."""
        pooling = self.sequence.request.pooling
        if pooling is None:
            return 0
        return self.num_tokens if pooling.kind == "mean" else int(self.is_sampled)

    @property
    def num_pooled_in_all(self) -> int:
        """Over how many rows a prompt that is pooled is averaged."""
        pooling = self.sequence.request.pooling
        return len(self.sequence.token_ids) if pooling is not None and pooling.kind == "mean" else 1


class Scheduler:
    """First come, first served among the requests of one owner; between owners, whoever has the fewest running is next,
    so that nobody's long queue holds up another's single request. Each decoding sequence gets its one row in each step;
    prompts share what is left.

    A prompt that is longer than what is left is read in chunks, so that it can't hold up the others' next tokens.

    A beam search needs several slots at once: when its turn comes, the next ones wait until they are free. Then each of
    its beams is a decoding sequence.
    """

    def __init__(self, config: EngineConfig, cache: KVCache) -> None:
        self._max_num_batched_tokens = config.max_num_batched_tokens
        self._max_num_prompt_tokens_beside = config.max_num_prompt_tokens_beside
        self._cache = cache
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []  # in the order of admission
        self._next: Sequence | None = None  # whose turn it is, and for whom there are not yet enough slots
        self.num_admitted = 0
        self.queued_s = 0.0  # of all that were admitted
        self._turns: dict[str, int] = {}  # of owners with requests in progress: a number that grows with each turn

    def add(self, sequence: Sequence) -> None:
        self.waiting.append(sequence)

    def schedule(self) -> list[Scheduled]:
        """The rows of the next step, decoding sequences first; empty only when there is nothing to do.

        Admits waiting sequences while there are rows and slots for them. At least one prompt's row is in each step,
        however small the budget.
        """
        scheduled = [Scheduled(seq, 1) for seq in self.running if seq.num_uncomputed_tokens == 1]
        scheduled += [
            Scheduled(beam, 1) for seq in self.running for beam in seq.other_beams if beam.num_uncomputed_tokens == 1
        ]
        budget = max(1, self._max_num_batched_tokens - len(scheduled))
        if scheduled:
            budget = min(budget, self._max_num_prompt_tokens_beside)
        for sequence in self.running:
            if budget and sequence.num_uncomputed_tokens > 1:
                budget -= self._schedule_prompt(sequence, budget, scheduled)
        while budget and self.waiting and self._cache.num_free_slots:
            sequence = self._next or self._next_waiting()
            if sequence.num_slots > self._cache.num_free_slots:
                self._next = sequence
                break
            self._next = None
            sequence.slot, sequence.num_cached_tokens = self._cache.allocate(
                sequence.request.owner, sequence.reusable_token_ids
            )
            for beam in sequence.other_beams:
                beam.slot = self._cache.allocate_empty()
            self.waiting.remove(sequence)
            sequence.num_computed_tokens = sequence.num_cached_tokens
            self.running.append(sequence)
            self.num_admitted += 1
            self.queued_s += time.monotonic() - sequence.added_at
            budget -= self._schedule_prompt(sequence, budget, scheduled)
        return scheduled

    def computed(self, scheduled: Scheduled) -> None:
        """The step has computed these rows."""
        sequence = scheduled.sequence
        sequence.num_computed_tokens += scheduled.num_tokens
        self._cache.record(sequence.slot, sequence.request.owner, sequence.token_ids, sequence.num_computed_tokens)

    def finish(self, sequence: Sequence, *, is_cache_valid: bool = True) -> None:
        """Take a sequence out, waiting or running; its slot stays as a prefix where its content can be trusted."""
        if self._next is sequence:
            self._next = None
        if sequence.slot == NO_SLOT:
            self.waiting.remove(sequence)
            return
        self.running.remove(sequence)
        if is_cache_valid:
            self._cache.retire(sequence.slot)
        else:
            self._cache.release(sequence.slot)
        sequence.slot = NO_SLOT
        for beam in sequence.other_beams:
            self._cache.release(beam.slot)
            beam.slot = NO_SLOT

    def check_integrity(self) -> None:
        """Raises EngineError where the running sequences and the running slots don't belong together."""
        slots = [each.slot for sequence in self.running for each in (sequence, *sequence.other_beams)]
        if len(set(slots)) != len(slots) or self._cache.running_slots != set(slots):
            raise EngineError(f"Scheduler: {len(slots)} running sequences, but other slots are marked as running.")
        for sequence in self.running:
            beams = (sequence, *sequence.other_beams)
            if not any(0 <= beam.num_computed_tokens < len(beam.token_ids) for beam in beams):
                raise EngineError(f"Scheduler: {sequence.request_id} has nothing left to compute.")
        if any(sequence.slot != NO_SLOT for sequence in self.waiting):
            raise EngineError("Scheduler: a waiting sequence has a slot.")
        self._cache.check_integrity()

    def _next_waiting(self) -> Sequence:
        """The oldest one of the owner with the fewest running, of equals the one whose last turn is longest ago."""
        num_running: Counter[str] = Counter()
        for sequence in self.running:
            num_running[sequence.request.owner] += sequence.num_slots
        owners = num_running.keys() | {sequence.request.owner for sequence in self.waiting}
        self._turns = {owner: turn for owner, turn in self._turns.items() if owner in owners}
        chosen = min(self.waiting, key=lambda s: (num_running[s.request.owner], self._turns.get(s.request.owner, 0)))
        self._turns[chosen.request.owner] = max(self._turns.values(), default=0) + 1
        return chosen

    def _schedule_prompt(self, sequence: Sequence, budget: int, scheduled: list[Scheduled]) -> int:
        num_tokens = min(budget, sequence.num_uncomputed_tokens)
        scheduled.append(Scheduled(sequence, num_tokens))
        return num_tokens
