from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import GPT2LMHeadModel

from gpt2svc.evaluation.scorer import Score, Scorer
from gpt2svc.evaluation.windows import Window, windows
from gpt2svc.models.folder import ModelFolder
from gpt2svc.models.gpt2 import GPT2
from tests.evaluation.conftest import WINDOW
from tests.fakes.tokenizer import TINY_VOCAB_SIZE


def by_transformers(model: GPT2LMHeadModel, parts: list[Window]) -> Score:
    total = Score()
    for part in parts:
        ids = torch.from_numpy(part.token_ids)
        with torch.no_grad():
            logits = model(ids[:-1].unsqueeze(0)).logits[0, part.num_context :]
        targets = ids[1 + part.num_context :]
        nats = -logits.log_softmax(-1).gather(1, targets.unsqueeze(1)).double().sum()
        total = total + Score(float(nats), len(targets), int((logits.argmax(-1) == targets).sum()))
    return total


def test_many_texts_at_once_score_as_each_alone_in_transformers(model_path: Path) -> None:
    random = np.random.default_rng(0)
    # More rows than one pass takes, more texts than it has slots, and texts of one token beside long ones.
    lengths = [2, 150, 3, 64, 65, 2, *([2] * 40), 300, *random.integers(2, 80, 30)]
    texts = [random.integers(0, TINY_VOCAB_SIZE, length) for length in lengths]
    parts = [part for text in texts for part in windows(text, WINDOW, first_scored=int(random.integers(1, 3)))]
    read = []

    model = GPT2.from_folder(ModelFolder.open(model_path), torch.device("cpu"), torch.float32)
    score = Scorer(model).score(parts, read.append)

    expected = by_transformers(GPT2LMHeadModel.from_pretrained(model_path).eval(), parts)
    assert score.num_tokens == expected.num_tokens
    assert score.num_correct == expected.num_correct
    assert score.nats == pytest.approx(expected.nats, rel=1e-6)
    assert sum(read) == sum(part.num_inputs for part in parts)
    assert len(read) > 5
