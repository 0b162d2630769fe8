"""Text between a prompt and a suffix, from a model that reads from left to right only.

The model can't see the suffix while it writes. So several texts are drawn, and each is judged, whole and cut at some of
its places, by how likely the model then finds the suffix; those that lead to it best are kept. To draw from
p(text | prompt) and choose by p(suffix | prompt, text) is importance resampling of p(text | prompt, suffix).
"""

import asyncio
import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial

from gpt2svc.chat.side_by_side import side_by_side
from gpt2svc.completions.completion import Completion
from gpt2svc.completions.prompts import MAX_ESTIMATE
from gpt2svc.completions.result import CompletionResult, SequenceResult, collect
from gpt2svc.completions.service import CompletionRequest, CompletionService
from gpt2svc.engine.types import Scoring
from gpt2svc.errors import ContextWindowError, InvalidInputError
from gpt2svc.generation.admission import Admission, Permit
from gpt2svc.generation.deadline import within_deadline
from gpt2svc.models.tokenizer import Tokenizer
from gpt2svc.worker.protocol import EngineClient, EnginePool
from gpt2svc.worker.scoring import score_prompt

MAX_PLACES = 8  # of one text where the suffix is tried, its end included
MAX_LANES = 4  # places of one request that are judged at the same time


@dataclass(frozen=True, slots=True)
class _Candidate:
    text: SequenceResult
    token_ids: tuple[int, ...]  # prompt, text and suffix


class InfillingService:
    def __init__(self, engines: EnginePool, admission: Admission, completions: CompletionService) -> None:
        self._engines = engines
        self._admission = admission
        self._completions = completions
        self._numbers = itertools.count(1)

    async def fill(
        self, request: CompletionRequest, suffix: str, num_choices: int
    ) -> tuple[Completion, CompletionResult]:
        """Of the `request.num_choices` texts for each prompt the `num_choices` that lead to `suffix` best, the best
        first. In the suffix, as in a prompt, the spelling of a special token stands for that token.

        Cancelling it takes everything out of the engine. Raises what CompletionService.begin and reading it raise, and
        EngineError.
        """
        permits = self._reserve(request, suffix)
        try:
            engine = self._engines.get(request.model)
            suffix_ids = tuple(await asyncio.to_thread(engine.tokenizer.encode_marked, suffix))
            _check_suffix(suffix_ids, engine.n_positions)
            completion = await self._completions.begin(replace(request, num_tokens_after=len(suffix_ids)))
            with closing(completion):
                drawn = await collect(completion)
            candidates = await asyncio.to_thread(_candidates, completion, drawn, suffix_ids, engine.n_positions)
            for permit in permits:
                permit.resize(max((len(candidate.token_ids) for candidate in candidates), default=1))
            async with within_deadline():
                scores = await self._judge(engine, candidates, len(suffix_ids), request.owner, len(permits))
        finally:
            for permit in permits:
                permit.release()
        num_suffix_tokens = len(suffix_ids) * len(request.prompts)
        return completion, _chosen(drawn, candidates, scores, num_choices, num_suffix_tokens)

    def _reserve(self, request: CompletionRequest, suffix: str) -> list[Permit]:
        # NOTE: before the first await and before any work; made as large as need be once the tokens are known.
        num_texts = len(request.prompts) * request.num_choices
        num_lanes = min(MAX_LANES, num_texts, self._admission.max_requests - num_texts)
        if num_lanes < 1:
            raise InvalidInputError(
                f"The request asks for {num_texts} texts at once (prompts times best_of), which are judged after that; "
                f"this service takes on {self._admission.max_requests} requests.",
                field="best_of",
            )
        num_tokens = max(prompt.estimate for prompt in request.prompts) + request.settings.max_new_tokens + len(suffix)
        return self._admission.reserve_each([min(MAX_ESTIMATE, num_tokens)] * num_lanes, request.owner)

    async def _judge(
        self, engine: EngineClient, candidates: Sequence[_Candidate], num_suffix_tokens: int, owner: str, num_lanes: int
    ) -> list[float]:
        """Log-probability of the suffix after each."""
        name = f"fill-{next(self._numbers)}"

        async def score(index: int, candidate: _Candidate) -> float:
            scoring = Scoring(start=len(candidate.token_ids) - num_suffix_tokens)
            scored = await score_prompt(engine, f"{name}-{index}", candidate.token_ids, scoring, owner=owner)
            return math.fsum(token.logprob for token in scored.logprobs)

        work = (partial(score, index, candidate) for index, candidate in enumerate(candidates))
        return await side_by_side(work, max_at_once=num_lanes)


def _check_suffix(suffix_ids: tuple[int, ...], n_positions: int) -> None:
    most = n_positions - 2  # a token before it, and one between
    if len(suffix_ids) > most:
        raise ContextWindowError(
            f"suffix has {len(suffix_ids)} tokens; at most {most} fit this model's window.",
            num_tokens=len(suffix_ids),
            max_tokens=most,
            field="suffix",
        )


def _candidates(
    completion: Completion, drawn: CompletionResult, suffix_ids: tuple[int, ...], n_positions: int
) -> list[_Candidate]:
    """Each text whole, then cut, so that of equal ones the longest is kept."""
    facts = completion.facts
    candidates = [
        _Candidate(text, (*facts.prompts[text.prompt_index].token_ids, *_ids(text, facts.tokenizer), *suffix_ids))
        for sequence in drawn.sequences
        for text in _cuts(sequence)
    ]
    return [candidate for candidate in candidates if len(candidate.token_ids) <= n_positions]


def _ids(text: SequenceResult, tokenizer: Tokenizer) -> Sequence[int]:
    """Those that were drawn, which the engine still has in its cache; but a stop string may have cut the last one."""
    drawn = [token.token_id for token in text.tokens]
    return drawn if tokenizer.decode(drawn) == text.text else tokenizer.encode(text.text)


def _cuts(sequence: SequenceResult) -> Iterator[SequenceResult]:
    """The text, and its beginnings up to some tokens, evenly spread, that end a character."""
    yield sequence
    places = [place for place, token in enumerate(sequence.tokens[:-1], start=1) if token.text]
    step = max(1, math.ceil(len(places) / (MAX_PLACES - 1)))
    for place in places[::-1][::step]:
        yield replace(sequence, tokens=sequence.tokens[:place], end_token=None, finish_reason="stop")


def _chosen(
    drawn: CompletionResult,
    candidates: Sequence[_Candidate],
    scores: Sequence[float],
    num_choices: int,
    num_suffix_tokens: int,
) -> CompletionResult:
    best = {sequence.index: (-math.inf, sequence) for sequence in drawn.sequences}  # of each text and its cuts
    for candidate, score in zip(candidates, scores, strict=True):
        index = candidate.text.index
        if score > best[index][0]:
            best[index] = (score, candidate.text)
    kept: list[SequenceResult] = []
    for prompt_index in dict.fromkeys(sequence.prompt_index for sequence in drawn.sequences):
        own = [entry for entry in best.values() if entry[1].prompt_index == prompt_index]
        own.sort(key=lambda entry: entry[0], reverse=True)
        kept += [text for _, text in own[:num_choices]]
    num_unsent = drawn.num_completion_tokens - sum(text.num_sampled for text in kept)
    return CompletionResult(kept, num_unsent_tokens=num_unsent, num_suffix_tokens=num_suffix_tokens)
