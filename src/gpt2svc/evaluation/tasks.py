"""A model folder on rows with an answer, through the engine: its head's labels, its choices."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np

from gpt2svc.engine.core import EngineCore
from gpt2svc.engine.sampling_params import NO_TOKENS
from gpt2svc.engine.types import THROUGH_HEAD, EngineRequest, Scoring, TokenOutput
from gpt2svc.errors import EngineError, InvalidInputError
from gpt2svc.evaluation.label_measures import choice_accuracy, classification_measures
from gpt2svc.evaluation.labelled import label_numbers, read_labelled, read_questions
from gpt2svc.evaluation.likelihood import Likelihood
from gpt2svc.evaluation.report import EvaluationReport, new_report
from gpt2svc.models.folder import ModelFolder
from gpt2svc.models.quantization import quantized_revision
from gpt2svc.models.task_head import ChoiceHead, ClassificationHead
from gpt2svc.models.tokenizer import Tokenizer
from gpt2svc.training.documents import CorpusError
from gpt2svc.training.rows import BadRowError, Document

Progress = Callable[[int, int], None] | None  # done, in all

_AT_ONCE: Final = 256  # rows that wait in the engine


def evaluate_labels(
    core: EngineCore,
    folder: ModelFolder,
    head: ClassificationHead,
    data: Path,
    settings: Mapping[str, Any],
    on_progress: Progress,
) -> EvaluationReport:
    """Raises CorpusError with the rows that can't be used, and as `read_labelled`."""
    file = read_labelled(data)
    labels = label_numbers(file, head.labels)
    tokenizer = folder.load_tokenizer()
    rows = [head.without_padding(row) for row in _encoded(file.path, file.examples, tokenizer, folder)]
    outputs = _run(core, ((row, None) for row in rows), len(rows), on_progress)
    predictions = [int(np.frombuffer(output[-1].pooled or b"", "<f4").argmax()) for output in outputs]
    metrics, confusion = classification_measures(labels, predictions, head.labels)
    return new_report(
        model=folder.name,
        model_revision=quantized_revision(folder.revision, settings["quantize"]),
        file=file,
        likelihood=Likelihood(0.0, sum(map(len, rows)), None, 0, 0),
        metrics=metrics,
        settings={**settings, "problem_type": head.problem_type},
        confusion=confusion,
    )


def evaluate_choices(
    core: EngineCore, folder: ModelFolder, data: Path, settings: Mapping[str, Any], on_progress: Progress
) -> EvaluationReport:
    """By the head for choices where the model has one, else by the mean log-probability of a choice's tokens.

    Raises CorpusError with the rows that can't be used, and as `read_questions`.
    """
    file = read_questions(data)
    tokenizer = folder.load_tokenizer()
    has_head = isinstance(folder.config.head, ChoiceHead)
    texts: list[tuple[tuple[int, ...], Scoring | None]] = []
    problems: list[str] = []
    for index, question in enumerate(file.examples):
        prompt = tokenizer.encode(question.text)
        for number, choice in enumerate(question.choices):
            row = (*prompt, *tokenizer.encode(choice))
            if not prompt or len(row) == len(prompt):
                problems.append(f"{data}, example {index + 1}: prompt or choice {number} has no tokens")
            elif len(row) > folder.config.n_positions:
                problems.append(
                    f"{data}, example {index + 1}: prompt and choice {number} have {len(row)} tokens; the window is "
                    f"{folder.config.n_positions}"
                )
            texts.append((row, None if has_head else Scoring(start=max(1, len(prompt)))))
    if problems:
        raise CorpusError(problems)
    scores = [_score(output) for output in _run(core, iter(texts), len(texts), on_progress)]
    chosen, first = [], 0
    for question in file.examples:
        end = first + len(question.choices)
        chosen.append(int(np.argmax(scores[first:end])))
        first = end
    return new_report(
        model=folder.name,
        model_revision=quantized_revision(folder.revision, settings["quantize"]),
        file=file,
        likelihood=Likelihood(0.0, sum(len(row) for row, _ in texts), None, 0, 0),
        metrics=choice_accuracy([int(question.label or 0) for question in file.examples], chosen),
        settings={**settings, "method": "head" if has_head else "loglikelihood"},
    )


def _score(outputs: Sequence[TokenOutput]) -> float:
    """The head's, or the mean log-probability."""
    if outputs[-1].pooled is not None:
        return float(np.frombuffer(outputs[-1].pooled, "<f4")[0])
    logprobs = [each.logprob for output in outputs for each in output.prompt_logprobs or ()]
    return sum(logprobs) / len(logprobs)


def _encoded(path: Path, documents: Sequence[Document], tokenizer: Tokenizer, folder: ModelFolder) -> list[list[int]]:
    rows: list[list[int]] = []
    problems: list[str] = []
    for index, document in enumerate(documents):
        try:
            rows.append(_fitting(token_ids(document, tokenizer, folder.config.vocab_size), folder.config.n_positions))
        except BadRowError as error:
            problems.append(f"{path}, example {index + 1}: {error}")
    if problems:
        raise CorpusError(problems)
    return rows


def _fitting(row: list[int], n_positions: int) -> list[int]:
    if not 1 <= len(row) <= n_positions:
        raise BadRowError(f"it has {len(row)} tokens; 1 to the window's {n_positions} can be read")
    return row


def token_ids(document: Document, tokenizer: Tokenizer, vocab_size: int) -> list[int]:
    """As training encodes it. Raises BadRowError where the vocabulary doesn't cover the row's tokens."""
    if not document.tokens:
        return [token_id for segment in document.segments for token_id in tokenizer.encode(segment.text)]
    found = []
    for place, token in enumerate(document.tokens):
        number = tokenizer.token_id(token) if isinstance(token, str) else token
        if number is None or number >= vocab_size:
            raise BadRowError(f"token {place} is {token!r:.40}, which the vocabulary doesn't have")
        found.append(number)
    return found


def _run(
    core: EngineCore,
    texts: Iterator[tuple[tuple[int, ...], Scoring | None]],
    count: int,
    on_progress: Progress,
) -> list[list[TokenOutput]]:
    """What the engine tells of each text, in order: its scores, or what the head makes of it."""
    outputs: list[list[TokenOutput]] = [[] for _ in range(count)]
    numbered = enumerate(texts)
    done = waiting = 0
    while True:
        for index, (row, scoring) in islice(numbered, _AT_ONCE - waiting):
            pooling = THROUGH_HEAD if scoring is None else None
            try:
                core.add_request(EngineRequest(str(index), row, NO_TOKENS, scoring=scoring, pooling=pooling))
            except InvalidInputError as error:
                raise InvalidInputError(f"Text {index + 1}: {error.message}", field="data") from error
            waiting += 1
        if not waiting:
            return outputs
        for output in core.step():
            outputs[int(output.request_id)].append(output)
            if output.finish_reason == "error":
                raise EngineError(output.error or "The engine failed.")
            if output.finish_reason is not None:
                waiting -= 1
                done += 1
                if on_progress is not None:
                    on_progress(done, count)
