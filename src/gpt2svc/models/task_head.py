"""What a checkpoint does besides language: the head that its config.json names. Torch-free."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from gpt2svc.errors import ModelFormatError

ProblemType = Literal["single_label_classification", "multi_label_classification", "regression"]

SCORE_WEIGHT: Final = "score.weight"
CHOICE_WEIGHT: Final = "multiple_choice_head.summary.weight"
CHOICE_BIAS: Final = "multiple_choice_head.summary.bias"

_CLASSIFICATION: Final = ("GPT2ForSequenceClassification", "OpenAIGPTForSequenceClassification")
_CHOICE: Final = ("GPT2DoubleHeadsModel", "OpenAIGPTDoubleHeadsModel")
_PROBLEM_TYPES: Final = ("single_label_classification", "multi_label_classification", "regression")
_MAX_LABELS: Final = 1 << 16
_MAX_LABEL_LENGTH: Final = 1000


@dataclass(frozen=True, slots=True)
class ClassificationHead:
    """Scores for labels, from the hidden state of the last token that is not `pad_token_id`. Not a language model.

    The scores are logits, or with "regression" the numbers themselves.
    """

    labels: tuple[str, ...]  # by index
    problem_type: ProblemType
    pad_token_id: int | None = None

    def without_padding(self, token_ids: Sequence[int]) -> tuple[int, ...]:
        """What it reads of a text: its tokens up to the last that is not padding, and at least one."""
        end = len(token_ids)
        while end > 1 and token_ids[end - 1] == self.pad_token_id:
            end -= 1
        return tuple(token_ids[:end])


@dataclass(frozen=True, slots=True)
class ChoiceHead:
    """One score for a text, from the hidden state of its last token: of several, the highest is chosen.

    Beside a language model's head.
    """

    activation: Literal["tanh"] | None = None


TaskHead = ClassificationHead | ChoiceHead

# What a model is for: to write; to classify and nothing else; to write and to choose.
Task = Literal["text", "classification", "choice"]


def task_of(head: TaskHead | None) -> Task:
    match head:
        case None:
            return "text"
        case ClassificationHead():
            return "classification"
        case ChoiceHead():
            return "choice"


def read_task_head(mapping: Mapping[str, Any], *, pad_token_id: int | None, source: str) -> TaskHead | None:
    """The head that config.json's `architectures` names; None of a plain language model. Raises ModelFormatError."""
    architectures = mapping.get("architectures")
    names = architectures if isinstance(architectures, list) else ()
    if any(name in _CLASSIFICATION for name in names):
        labels = _labels(mapping, source)
        return ClassificationHead(labels, _problem_type(mapping, len(labels), source), pad_token_id)
    if any(name in _CHOICE for name in names):
        return _choice_head(mapping, source)
    return None


def _labels(mapping: Mapping[str, Any], source: str) -> tuple[str, ...]:
    labels = mapping.get("id2label")
    if labels is None:
        number = mapping.get("num_labels", 2)
        if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= _MAX_LABELS:
            raise ModelFormatError(f"{source}: num_labels must be from 1 to {_MAX_LABELS}.", field="num_labels")
        return tuple(f"LABEL_{i}" for i in range(number))
    if not isinstance(labels, dict) or not 1 <= len(labels) <= _MAX_LABELS:
        raise ModelFormatError(f"{source}: id2label must name 1 to {_MAX_LABELS} labels.", field="id2label")
    found = [labels.get(str(i)) for i in range(len(labels))]
    for i, label in enumerate(found):
        if not isinstance(label, str) or not 0 < len(label) <= _MAX_LABEL_LENGTH:
            raise ModelFormatError(
                f"{source}: id2label must have a name of 1 to {_MAX_LABEL_LENGTH} characters for each id from 0 on; "
                f"{i} has none.",
                field="id2label",
            )
    return tuple(label for label in found if label is not None)


def _problem_type(mapping: Mapping[str, Any], num_labels: int, source: str) -> ProblemType:
    """As transformers has it: without a word on it, one label is a number to predict."""
    match mapping.get("problem_type"):
        case None:
            return "regression" if num_labels == 1 else "single_label_classification"
        case "single_label_classification":
            return "single_label_classification"
        case "multi_label_classification":
            return "multi_label_classification"
        case "regression":
            return "regression"
        case other:
            raise ModelFormatError(
                f"{source}: problem_type is {str(other)[:40]!r}; supported are {', '.join(_PROBLEM_TYPES)}.",
                field="problem_type",
            )


def _choice_head(mapping: Mapping[str, Any], source: str) -> ChoiceHead:
    # NOTE: with several choices at once transformers itself means something useful only by cls_index.
    supported: tuple[tuple[str, Any, tuple[Any, ...]], ...] = (
        ("summary_type", "cls_index", ("cls_index", "last")),
        ("summary_use_proj", True, (True,)),
        ("summary_activation", None, (None, "tanh")),
    )
    for key, default, values in supported:
        if mapping.get(key, default) not in values:
            shown = " and ".join(json.dumps(value) for value in values)
            raise ModelFormatError(
                f"{source}: {key} is {str(mapping[key])[:40]!r}; of a head that chooses, {shown} are supported.",
                field=key,
            )
    return ChoiceHead("tanh" if mapping.get("summary_activation") == "tanh" else None)
