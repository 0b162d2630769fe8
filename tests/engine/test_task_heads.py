"""Models with a head for a task, against transformers' own classes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2DoubleHeadsModel,
    GPT2ForSequenceClassification,
    OpenAIGPTConfig,
    OpenAIGPTDoubleHeadsModel,
    OpenAIGPTForSequenceClassification,
    PreTrainedModel,
)

from gpt2svc.engine.config import EngineConfig
from gpt2svc.engine.core import EngineCore
from gpt2svc.engine.sampling_params import SamplingParams
from gpt2svc.engine.types import EngineRequest, Pooling, Scoring
from gpt2svc.errors import InvalidInputError, ModelFormatError
from gpt2svc.models.folder import ModelFolder
from gpt2svc.models.loading import load_model
from tests.engine.test_pooling import vector_of
from tests.engine.test_scoring import NOTHING, prompt_of, run
from tests.fakes.checkpoints import TINY, sharpened

THROUGH_HEAD = Pooling("last", has_head=True)


def saved(model: PreTrainedModel, path: Path) -> ModelFolder:
    sharpened(model).save_pretrained(path)
    return ModelFolder.open(path)


def scores(folder: ModelFolder, prompts: list[tuple[int, ...]], **config: Any) -> list[np.ndarray]:
    core = EngineCore(load_model(folder, torch.device("cpu"), torch.float32), EngineConfig(**config))
    requests = [EngineRequest(str(i), prompt, NOTHING, pooling=THROUGH_HEAD) for i, prompt in enumerate(prompts)]
    outputs = run(core, *requests)
    return [np.frombuffer(vector_of(outputs[request.request_id]), "<f4") for request in requests]


@pytest.mark.parametrize(
    ("config_class", "model_class"),
    [(GPT2Config, GPT2ForSequenceClassification), (OpenAIGPTConfig, OpenAIGPTForSequenceClassification)],
)
def test_classification_logits_equal_transformers(
    config_class: Callable[..., Any], model_class: Callable[..., Any], tmp_path: Path
) -> None:
    torch.manual_seed(3)
    model = model_class(config_class(**TINY, num_labels=5, pad_token_id=0))
    folder = saved(model, tmp_path)
    prompts = [prompt_of(n, TINY["vocab_size"] - 1, n) for n in (1, 2, 9, 50, TINY["n_positions"])]
    prompts = [tuple(token_id + 1 for token_id in prompt) for prompt in prompts]  # none of them padding
    found = scores(folder, prompts, max_num_seqs=3, max_num_batched_tokens=33)
    alone = [scores(folder, [prompt])[0] for prompt in prompts]
    width = max(map(len, prompts))
    with torch.no_grad():
        expected = model(torch.tensor([[*prompt, *[0] * (width - len(prompt))] for prompt in prompts])).logits.numpy()
    for one, same, theirs in zip(found, alone, expected, strict=True):
        assert one.tolist() == same.tolist()  # bit for bit
        assert one == pytest.approx(theirs, abs=2e-4)
        assert one.argmax() == theirs.argmax()


@pytest.mark.parametrize(
    ("config_class", "model_class", "activation"),
    [(GPT2Config, GPT2DoubleHeadsModel, None), (OpenAIGPTConfig, OpenAIGPTDoubleHeadsModel, "tanh")],
)
def test_choice_scores_equal_transformers_and_language_goes_on(
    config_class: Callable[..., Any], model_class: Callable[..., Any], activation: str | None, tmp_path: Path
) -> None:
    torch.manual_seed(4)
    model = model_class(config_class(**TINY, summary_activation=activation))
    folder = saved(model, tmp_path)
    choices = [prompt_of(20, TINY["vocab_size"], seed) for seed in range(4)]
    with torch.no_grad():
        theirs = model(torch.tensor([choices]), mc_token_ids=torch.tensor([[19] * 4]))
    found = scores(folder, choices)
    assert [float(one[0]) for one in found] == pytest.approx(theirs.mc_logits[0].tolist(), abs=2e-4)
    core = EngineCore(load_model(folder, torch.device("cpu"), torch.float32), EngineConfig())
    params = SamplingParams(seed=0, temperature=0, repetition_penalty=1.0, max_new_tokens=1)
    written = run(core, EngineRequest("a", choices[0], params))["a"]
    assert written[-1].token_ids == (int(theirs.logits[0, 0, -1].argmax()),)


def test_model_that_classifies_writes_nothing_and_a_plain_one_has_no_head(
    folders: list[ModelFolder], new_core: Callable[..., EngineCore], tmp_path: Path
) -> None:
    classifier = new_core(saved(GPT2ForSequenceClassification(GPT2Config(**TINY)), tmp_path))
    for request in (
        EngineRequest("a", (1, 2), SamplingParams(seed=0, max_new_tokens=3)),
        EngineRequest("a", (1, 2), NOTHING, scoring=Scoring()),
    ):
        with pytest.raises(InvalidInputError, match="classifies") as refusal:
            classifier.add_request(request)
        assert refusal.value.field == "model"
    assert vector_of(run(classifier, EngineRequest("a", (1, 2), NOTHING, pooling=Pooling()))["a"])
    with pytest.raises(InvalidInputError, match="plain language model"):
        new_core(folders[0]).add_request(EngineRequest("a", (1, 2), NOTHING, pooling=THROUGH_HEAD))


def test_head_of_another_shape_is_refused(tmp_path: Path) -> None:
    model = GPT2ForSequenceClassification(GPT2Config(**TINY, num_labels=3))
    model.score = torch.nn.Linear(TINY["n_embd"], 4, bias=False)
    model.save_pretrained(tmp_path)
    with pytest.raises(ModelFormatError) as refusal:
        ModelFolder.open(tmp_path)
    assert refusal.value.field == "score.weight"
