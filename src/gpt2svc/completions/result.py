"""A completion as a whole, for who does not want it piece by piece."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from gpt2svc.completions.completion import Completion
from gpt2svc.completions.sequence import EndReason, Piece, PromptLogprobs
from gpt2svc.generation.settled_token import SettledToken


@dataclass(slots=True)
class SequenceResult:
    """One finished text."""

    index: int
    prompt_index: int
    seed: int
    tokens: list[SettledToken] = field(default_factory=list)
    end_token: SettledToken | None = None
    finish_reason: EndReason = "length"
    num_sampled: int = 0
    num_cached: int = 0
    sum_logprob: float = 0.0
    score: float | None = None  # of a beam search's result
    prompt_logprobs: PromptLogprobs | None = None

    @property
    def text(self) -> str:
        return "".join(token.text for token in self.tokens)

    @property
    def mean_logprob(self) -> float:
        """Per sampled token, the end-of-text token included: what best_of compares."""
        return self.sum_logprob / max(1, self.num_sampled)

    def add(self, piece: Piece) -> None:
        self.tokens += piece.tokens
        self.end_token = piece.end_token or self.end_token
        self.finish_reason = piece.finish_reason or self.finish_reason
        self.prompt_logprobs = piece.prompt_logprobs or self.prompt_logprobs
        self.score = piece.score
        self.num_sampled, self.num_cached, self.sum_logprob = piece.num_sampled, piece.num_cached, piece.sum_logprob


@dataclass(frozen=True, slots=True)
class CompletionResult:
    """`num_unsent_tokens`: of texts that were drawn and are not among `sequences`. `num_suffix_tokens`: what was read
    after the texts.
    """

    sequences: list[SequenceResult]
    num_unsent_tokens: int = 0
    num_suffix_tokens: int = 0

    @property
    def num_completion_tokens(self) -> int:
        return sum(sequence.num_sampled for sequence in self.sequences) + self.num_unsent_tokens

    @property
    def num_cached_tokens(self) -> int:
        """Each prompt counts once, however many texts go on from it."""
        most: dict[int, int] = {}
        for sequence in self.sequences:
            most[sequence.prompt_index] = max(most.get(sequence.prompt_index, 0), sequence.num_cached)
        return sum(most.values())

    @classmethod
    def empty(cls, completion: Completion) -> "CompletionResult":
        return cls([SequenceResult(plan.index, plan.prompt_index, plan.seed) for plan in completion.facts.plans])

    def add(self, piece: Piece) -> None:
        self.sequences[piece.index].add(piece)

    def best(self, num_choices: int) -> Sequence[SequenceResult]:
        """For each prompt its `num_choices` likeliest texts, by mean log-probability a token, where there are more."""
        chosen: list[SequenceResult] = []
        for prompt_index in dict.fromkeys(sequence.prompt_index for sequence in self.sequences):
            own = [sequence for sequence in self.sequences if sequence.prompt_index == prompt_index]
            if len(own) > num_choices:
                own = sorted(own, key=lambda sequence: sequence.mean_logprob, reverse=True)[:num_choices]
            chosen += own
        return chosen


async def collect(completion: Completion) -> CompletionResult:
    """Read it to its end. Raises what ended one of its sequences."""
    result = CompletionResult.empty(completion)
    async for piece in completion.pieces():
        result.add(piece)
    return result
