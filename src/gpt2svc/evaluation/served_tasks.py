"""ServedTasks: a service's labels and choices on rows with an answer."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from gpt2svc.errors import InvalidInputError, UnavailableError
from gpt2svc.evaluation.label_measures import choice_accuracy, classification_measures
from gpt2svc.evaluation.labelled import LabelledFile, label_numbers, read_labelled, read_questions
from gpt2svc.evaluation.likelihood import Likelihood
from gpt2svc.evaluation.report import EvaluationReport, new_report
from gpt2svc.training.rows import Document

Post = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]

_TEXTS_AT_ONCE: Final = 32


class ServedTasks:
    def __init__(self, post: Post, url: str, on_progress: Callable[[str, int, int], None] | None) -> None:
        self._post = post
        self._url = url
        self._on_progress = on_progress

    def labels(self, data: Path) -> EvaluationReport:
        """By /api/classify. Raises InvalidInputError and UnavailableError as evaluate_served does."""
        file = read_labelled(data)
        texts = [_input(file, index, document) for index, document in enumerate(file.examples)]
        names: dict[int, str] = {}
        predictions = [0] * len(texts)
        num_done = 0
        num_tokens, answer = 0, {}
        for kind in (str, list):  # one request holds texts or token ids, not both
            places = [index for index, text in enumerate(texts) if isinstance(text, kind)]
            for first in range(0, len(places), _TEXTS_AT_ONCE):
                batch = places[first : first + _TEXTS_AT_ONCE]
                answer = dict(self._post("/api/classify", {"input": [texts[index] for index in batch]}))
                try:
                    for index, result in zip(batch, answer["results"], strict=True):
                        names |= {int(each["id"]): str(each["label"]) for each in result["labels"]}
                        predictions[index] = int(result["labels"][0]["id"])
                        num_tokens += int(result["num_tokens"])
                except (KeyError, TypeError, ValueError, IndexError) as error:
                    raise _other_form("/api/classify") from error
                num_done += len(batch)
                self._report("classifying", num_done, len(texts))
        ordered = [names[number] for number in sorted(names)]
        metrics, confusion = classification_measures(label_numbers(file, ordered), predictions, ordered)
        return self._result(file, answer, num_tokens, metrics, confusion)

    def choices(self, data: Path) -> EvaluationReport:
        """By /api/choose. Raises as `labels`."""
        file = read_questions(data)
        chosen: list[int] = []
        num_tokens, answer = 0, {}
        for index, question in enumerate(file.examples):
            body = {"prompt": question.text, "choices": list(question.choices)}
            answer = dict(self._post("/api/choose", body))
            try:
                chosen.append(int(answer["choices"][0]["index"]))
                num_tokens += sum(answer["prompt_tokens"] + int(choice["num_tokens"]) for choice in answer["choices"])
            except (KeyError, TypeError, ValueError, IndexError) as error:
                raise _other_form("/api/choose") from error
            self._report("choosing", index + 1, len(file.examples))
        metrics = choice_accuracy([int(question.label or 0) for question in file.examples], chosen)
        return self._result(file, answer, num_tokens, metrics, None)

    def _result(
        self,
        file: LabelledFile,
        answer: Mapping[str, Any],
        num_tokens: int,
        metrics: Mapping[str, float],
        confusion: Mapping[str, Any] | None,
    ) -> EvaluationReport:
        settings = {name: answer[name] for name in ("method", "problem_type") if name in answer}
        return new_report(
            model=str(answer.get("model")),
            model_revision=str(answer.get("model_revision")),
            file=file,
            likelihood=Likelihood(0.0, num_tokens, None, 0, 0),
            metrics=metrics,
            settings={"url": self._url, **settings},
            confusion=confusion,
        )

    def _report(self, stage: str, done: int, total: int) -> None:
        if self._on_progress is not None:
            self._on_progress(stage, done, total)


def _input(file: LabelledFile, index: int, document: Document) -> str | list[int]:
    """What the row is in a request."""
    if not document.tokens:
        return document.text
    token_ids = [token for token in document.tokens if isinstance(token, int)]
    if len(token_ids) < len(document.tokens):
        raise InvalidInputError(
            f"{file.path}, example {index + 1}: a service reads token ids, not their spellings; evaluate the folder.",
            field="data",
        )
    return token_ids


def _other_form(path: str) -> UnavailableError:
    return UnavailableError(f"What answers there is no gpt2svc: {path} has another form.")
