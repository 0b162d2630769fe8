"""What a model that was trained to classify makes of texts."""

import asyncio
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Final

from gpt2svc.chat.side_by_side import side_by_side
from gpt2svc.chat.text_input import MAX_CONTENT_LENGTH, check_text
from gpt2svc.engine.types import THROUGH_HEAD
from gpt2svc.errors import (
    ContextWindowError,
    InvalidInputError,
    ModelTaskError,
)
from gpt2svc.generation.admission import Admission
from gpt2svc.generation.deadline import within_deadline
from gpt2svc.generation.supervisor import GenerationSupervisor
from gpt2svc.models.task_head import ClassificationHead, ProblemType
from gpt2svc.worker.availability import require_usable
from gpt2svc.worker.pooling import pool_prompt
from gpt2svc.worker.protocol import EngineClient, EnginePool

MAX_TEXTS: Final = 128


TextOrIds = str | Sequence[int]


@dataclass(frozen=True, slots=True)
class LabelScore:
    index: int  # of the label among the model's
    label: str
    score: float  # what the head says: a logit; of a regression, the number itself
    probability: float | None  # None of a regression


@dataclass(frozen=True, slots=True)
class ClassifiedText:
    num_tokens: int
    labels: tuple[LabelScore, ...]  # the highest score first


@dataclass(frozen=True, slots=True)
class ClassificationResult:
    model: str
    model_revision: str
    problem_type: ProblemType
    texts: tuple[ClassifiedText, ...]


class ClassificationService:
    def __init__(self, engines: EnginePool, admission: Admission, supervisor: GenerationSupervisor) -> None:
        self._engines = engines
        self._admission = admission
        self._supervisor = supervisor
        self._numbers = itertools.count(1)

    async def classify(
        self, owner: str, texts: Sequence[TextOrIds], *, model: str | None = None
    ) -> ClassificationResult:
        """The labels of 1 to MAX_TEXTS texts or lists of token ids, read in the same steps of the engine.

        Raises InvalidInputError, ContextWindowError, NotFoundError, ModelError (ModelTaskError for one that doesn't
        classify), OverloadedError, UnavailableError, DeadlineExceededError, EngineError.
        """
        self._supervisor.require_accepting()
        if not 1 <= len(texts) <= MAX_TEXTS:
            raise InvalidInputError(f"input must have 1 to {MAX_TEXTS} texts, not {len(texts)}.", field="input")
        permit = self._admission.reserve(len(texts), owner)
        try:
            engine = self._engines.get(model)
            require_usable(engine)
            head = engine.task_head
            if not isinstance(head, ClassificationHead):
                raise ModelTaskError(
                    f"The model {engine.state.model!r} has no head for classification. Train one with gpt2svc train "
                    "--task classification, or name a model that was.",
                    field="model",
                )
            rows = await asyncio.to_thread(_rows, texts, engine, head)
            permit.resize(sum(map(len, rows)))
            async with within_deadline():
                scores = await side_by_side(partial(self._scores, engine, row, owner) for row in rows)
        finally:
            permit.release()
        classified = tuple(
            ClassifiedText(len(row), ranked_labels(head, values)) for row, values in zip(rows, scores, strict=True)
        )
        return ClassificationResult(engine.state.model, engine.revision, head.problem_type, classified)

    async def _scores(self, engine: EngineClient, token_ids: tuple[int, ...], owner: str) -> tuple[float, ...]:
        request_id = f"classify-{next(self._numbers)}"
        return (await pool_prompt(engine, request_id, token_ids, THROUGH_HEAD, owner=owner)).vector


def _rows(texts: Sequence[TextOrIds], engine: EngineClient, head: ClassificationHead) -> list[tuple[int, ...]]:
    rows = []
    for index, text in enumerate(texts):
        field = "input" if len(texts) == 1 else f"input.{index}"
        token_ids = head.without_padding(_token_ids(text, engine, field))
        if len(token_ids) > engine.n_positions:
            raise ContextWindowError(
                f"{field} has {len(token_ids)} tokens; the model's window is {engine.n_positions}.",
                num_tokens=len(token_ids),
                max_tokens=engine.n_positions,
                field=field,
            )
        rows.append(token_ids)
    return rows


def _token_ids(text: TextOrIds, engine: EngineClient, field: str) -> list[int]:
    if isinstance(text, str):
        check_text(field, text, MAX_CONTENT_LENGTH)
        token_ids = engine.tokenizer.encode(text)
    else:
        token_ids = list(text)
        info = engine.state.info
        vocab_size = info.vocab_size if info is not None else engine.tokenizer.vocab_size
        for token_id in token_ids:
            if not 0 <= token_id < vocab_size:
                raise InvalidInputError(
                    f"{field} has the token id {token_id}, but the model's ids are 0 to {vocab_size - 1}.", field=field
                )
    if not token_ids:
        raise InvalidInputError(f"{field} must not be empty.", field=field)
    return token_ids


def ranked_labels(head: ClassificationHead, scores: Sequence[float]) -> tuple[LabelScore, ...]:
    """What the head says of one text, the highest score first."""
    probabilities = _probabilities(head.problem_type, scores)
    labels = [LabelScore(*each) for each in zip(count(), head.labels, scores, probabilities, strict=False)]
    return tuple(sorted(labels, key=lambda each: -each.score))


def _probabilities(problem_type: ProblemType, scores: Sequence[float]) -> list[float] | list[None]:
    match problem_type:
        case "single_label_classification":
            return softmax(scores)
        case "multi_label_classification":
            return [_sigmoid(score) for score in scores]
        case "regression":
            return [None] * len(scores)


def softmax(scores: Sequence[float]) -> list[float]:
    """Of finite scores; the sum is 1."""
    highest = max(scores)
    weights = [math.exp(score - highest) for score in scores]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def _sigmoid(score: float) -> float:
    return 1 / (1 + math.exp(-score)) if score >= 0 else math.exp(score) / (1 + math.exp(score))
