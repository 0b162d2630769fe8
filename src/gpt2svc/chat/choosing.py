"""Which of several texts goes on best after a prompt."""

import asyncio
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

from gpt2svc.chat.classification import softmax
from gpt2svc.chat.side_by_side import side_by_side
from gpt2svc.chat.text_input import MAX_CONTENT_LENGTH, check_text
from gpt2svc.engine.types import THROUGH_HEAD, Scoring
from gpt2svc.errors import (
    ContextWindowError,
    InvalidInputError,
    ModelTaskError,
)
from gpt2svc.generation.admission import Admission
from gpt2svc.generation.deadline import within_deadline
from gpt2svc.generation.supervisor import GenerationSupervisor
from gpt2svc.models.task_head import ChoiceHead
from gpt2svc.worker.availability import require_language_model
from gpt2svc.worker.pooling import pool_prompt
from gpt2svc.worker.protocol import EngineClient, EnginePool
from gpt2svc.worker.scoring import score_prompt

MIN_CHOICES: Final = 2
MAX_CHOICES: Final = 64

ChoiceMethod = Literal["head", "loglikelihood"]


@dataclass(frozen=True, slots=True)
class RankedChoice:
    index: int  # in the request
    score: float
    probability: float
    num_tokens: int  # of the choice alone


@dataclass(frozen=True, slots=True)
class ChoiceResult:
    model: str
    model_revision: str
    method: ChoiceMethod
    num_prompt_tokens: int
    choices: tuple[RankedChoice, ...]  # the best first


class ChoiceService:
    """By the model's own head for choices; without one, by how likely it finds each token of a choice on average.

    A sum would favour short choices. Prompt and choice are encoded apart, as in training.
    """

    def __init__(self, engines: EnginePool, admission: Admission, supervisor: GenerationSupervisor) -> None:
        self._engines = engines
        self._admission = admission
        self._supervisor = supervisor
        self._numbers = itertools.count(1)

    async def choose(
        self,
        owner: str,
        prompt: str,
        choices: Sequence[str],
        *,
        method: ChoiceMethod | None = None,
        model: str | None = None,
    ) -> ChoiceResult:
        """MIN_CHOICES to MAX_CHOICES texts, ranked.

        Raises InvalidInputError, ContextWindowError, NotFoundError, ModelError (ModelTaskError where the model has no
        head for the `method`), OverloadedError, UnavailableError, DeadlineExceededError, EngineError.
        """
        self._supervisor.require_accepting()
        if not MIN_CHOICES <= len(choices) <= MAX_CHOICES:
            raise InvalidInputError(
                f"choices must have {MIN_CHOICES} to {MAX_CHOICES} texts, not {len(choices)}.", field="choices"
            )
        permit = self._admission.reserve(len(choices), owner)
        try:
            engine = self._engines.get(model)
            require_language_model(engine)
            has_head = isinstance(engine.task_head, ChoiceHead)
            if method == "head" and not has_head:
                raise ModelTaskError(
                    f"The model {engine.state.model!r} has no head to choose by: leave method out, or name a model "
                    "that was trained with --task multiple-choice.",
                    field="model",
                )
            used: ChoiceMethod = method or ("head" if has_head else "loglikelihood")
            opening, endings = await asyncio.to_thread(_encode, prompt, choices, engine)
            permit.resize(sum(len(opening) + len(ending) for ending in endings))
            async with within_deadline():
                scores = await side_by_side(
                    partial(self._score, engine, opening, ending, used, owner) for ending in endings
                )
        finally:
            permit.release()
        return ChoiceResult(engine.state.model, engine.revision, used, len(opening), ranked_choices(scores, endings))

    async def _score(
        self,
        engine: EngineClient,
        prompt: tuple[int, ...],
        choice: tuple[int, ...],
        method: ChoiceMethod,
        owner: str,
    ) -> float:
        request_id = f"choose-{next(self._numbers)}"
        if method == "head":
            return (await pool_prompt(engine, request_id, prompt + choice, THROUGH_HEAD, owner=owner)).vector[0]
        scored = await score_prompt(engine, request_id, prompt + choice, Scoring(start=len(prompt)), owner=owner)
        return math.fsum(each.logprob for each in scored.logprobs) / len(choice)


def ranked_choices(scores: Sequence[float], choices: Sequence[Sequence[int]]) -> tuple[RankedChoice, ...]:
    """The best first; `choices` are their token ids."""
    ranked = [
        RankedChoice(index, score, probability, len(choice))
        for index, (score, probability, choice) in enumerate(zip(scores, softmax(scores), choices, strict=True))
    ]
    return tuple(sorted(ranked, key=lambda choice: -choice.score))


def _encode(prompt: str, choices: Sequence[str], engine: EngineClient) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """Token ids of the prompt and of each choice, checked against the window."""
    check_text("prompt", prompt, MAX_CONTENT_LENGTH)
    opening = tuple(engine.tokenizer.encode(prompt))
    if not opening:
        raise InvalidInputError("prompt must not be empty.", field="prompt")
    endings = []
    for index, choice in enumerate(choices):
        field = f"choices.{index}"
        check_text(field, choice, MAX_CONTENT_LENGTH)
        ending = tuple(engine.tokenizer.encode(choice))
        if not ending:
            raise InvalidInputError(f"{field} must not be empty.", field=field)
        if len(opening) + len(ending) > engine.n_positions:
            raise ContextWindowError(
                f"prompt and {field} have {len(opening)} and {len(ending)} tokens; the model's window is "
                f"{engine.n_positions}.",
                num_tokens=len(opening) + len(ending),
                max_tokens=engine.n_positions,
                field=field,
            )
        endings.append(ending)
    return opening, endings
