"""What config.json says of a task's head, and what is refused."""

from dataclasses import replace
from typing import Any

import pytest

from gpt2svc.errors import ModelFormatError
from gpt2svc.models.config import GPT2Config
from gpt2svc.models.task_head import ChoiceHead, ClassificationHead

CLASSIFIER = {"model_type": "gpt2", "architectures": ["GPT2ForSequenceClassification"]}
CHOOSER = {"model_type": "openai-gpt", "architectures": ["OpenAIGPTDoubleHeadsModel"]}


def test_labels_are_those_of_id2label_or_counted() -> None:
    named = GPT2Config.from_json({**CLASSIFIER, "id2label": {"1": "добре", "0": "погано"}, "pad_token_id": 7})
    assert named.head == ClassificationHead(("погано", "добре"), "single_label_classification", 7)
    assert not named.is_language_model
    two = GPT2Config.from_json(CLASSIFIER).head
    assert two == ClassificationHead(("LABEL_0", "LABEL_1"), "single_label_classification")
    one = GPT2Config.from_json({**CLASSIFIER, "num_labels": 1}).head
    assert one == ClassificationHead(("LABEL_0",), "regression")


def test_double_heads_stay_a_language_model() -> None:
    config = GPT2Config.from_json({**CHOOSER, "summary_activation": "tanh"})
    assert config.head == ChoiceHead("tanh")
    assert config.is_language_model
    assert GPT2Config.from_json({"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}).head is None


@pytest.mark.parametrize(
    ("kind", "wrong", "field"),
    [
        (CLASSIFIER, {"id2label": {}}, "id2label"),
        (CLASSIFIER, {"id2label": {"0": "a", "2": "b"}}, "id2label"),
        (CLASSIFIER, {"id2label": {"0": 5}}, "id2label"),
        (CLASSIFIER, {"id2label": ["a"]}, "id2label"),
        (CLASSIFIER, {"num_labels": 0}, "num_labels"),
        (CLASSIFIER, {"num_labels": True}, "num_labels"),
        (CLASSIFIER, {"problem_type": "guessing"}, "problem_type"),
        (CHOOSER, {"summary_type": "first"}, "summary_type"),
        (CHOOSER, {"summary_use_proj": False}, "summary_use_proj"),
        (CHOOSER, {"summary_activation": "relu"}, "summary_activation"),
    ],
)
def test_what_a_head_cannot_be_is_refused_by_name(kind: dict[str, Any], wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(ModelFormatError) as refusal:
        GPT2Config.from_json({**kind, **wrong})
    assert refusal.value.field == field


def test_padding_at_the_end_is_left_out_and_one_token_stays() -> None:
    head = ClassificationHead(("a", "b"), "single_label_classification", pad_token_id=0)
    assert head.without_padding([0, 5, 0, 7, 0, 0]) == (0, 5, 0, 7)
    assert head.without_padding([0, 0]) == (0,)
    assert replace(head, pad_token_id=None).without_padding([5, 0]) == (5, 0)
