"""Classifiers and GPT-1 as ONNX graphs, run in onnxruntime against transformers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from transformers import (
    GPT2Config,
    GPT2ForSequenceClassification,
    OpenAIGPTConfig,
    OpenAIGPTForSequenceClassification,
)

from gpt2svc.errors import ModelFormatError
from gpt2svc.export.classifier_verification import ClassifierVerifier
from gpt2svc.export.onnx_export import export_onnx
from gpt2svc.export.precision import FP16, FP32, Q8
from gpt2svc.models.folder import ModelFolder
from tests.export.test_onnx_export import greedy, session_of
from tests.fakes.checkpoints import random_gpt1, sharpened
from tests.fakes.gpt1_tokenizer import GPT1_VOCAB_SIZE, write_gpt1_tokenizer
from tests.fakes.tokenizer import TINY_VOCAB_SIZE, write_tokenizer_folder

SHAPE = {"n_positions": 40, "n_embd": 48, "n_layer": 2, "n_head": 4}


@pytest.mark.parametrize(
    ("config_class", "model_class", "write_tokenizer", "vocab_size", "num_labels"),
    [
        (GPT2Config, GPT2ForSequenceClassification, write_tokenizer_folder, TINY_VOCAB_SIZE, 5),
        (OpenAIGPTConfig, OpenAIGPTForSequenceClassification, write_gpt1_tokenizer, GPT1_VOCAB_SIZE, 1),
    ],
)
def test_classifier_gives_the_logits_of_transformers_alone_and_padded(
    config_class: Callable[..., Any],
    model_class: Callable[..., Any],
    write_tokenizer: Callable[[Path], Path],
    vocab_size: int,
    num_labels: int,
    tmp_path: Path,
) -> None:
    torch.manual_seed(2)
    config = config_class(vocab_size=vocab_size, num_labels=num_labels, pad_token_id=0, **SHAPE)
    model = sharpened(model_class(config))
    model.save_pretrained(write_tokenizer(tmp_path / "model"))
    graphs = export_onnx(ModelFolder.open(tmp_path / "model"), tmp_path / "out", (FP32, Q8, FP16))
    assert [graph.error <= graph.tolerance for graph in graphs] == [True] * 3
    assert graphs[0].error < 1e-5
    rows = [[3, 7, 9], [5] * 30, [1]]
    ids, mask = np.zeros((2, 3, 30), np.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)], mask[i, : len(row)] = row, 1
    session = session_of(tmp_path / "out" / graphs[0].file)
    [logits] = session.run(None, {"input_ids": ids, "attention_mask": mask})
    with torch.no_grad():
        expected = model(torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)).logits.numpy()
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-4)
    written = json.loads((tmp_path / "out" / "config.json").read_text())
    assert written["architectures"] == [model_class.__name__]
    assert "use_cache" not in written or written["use_cache"] == config.use_cache


def test_gpt1_decodes_in_onnxruntime_as_in_transformers(tmp_path: Path) -> None:
    model = random_gpt1(3, vocab_size=GPT1_VOCAB_SIZE, **SHAPE)
    model.save_pretrained(write_gpt1_tokenizer(tmp_path / "model"))
    [graph] = export_onnx(ModelFolder.open(tmp_path / "model"), tmp_path / "out")
    assert graph.error < 1e-5
    prompt = [3, 100, 7, 7, 90]
    new, logits = greedy(session_of(tmp_path / "out" / graph.file), prompt, 20)
    with torch.no_grad():
        expected = model(torch.tensor([[*prompt, *new[:-1]]])).logits[0].numpy()
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-3)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["model_type"] == "openai-gpt"


def test_graph_that_is_another_model_fails_its_verification(tmp_path: Path) -> None:
    torch.manual_seed(2)
    model = sharpened(GPT2ForSequenceClassification(GPT2Config(vocab_size=TINY_VOCAB_SIZE, **SHAPE)))
    model.save_pretrained(write_tokenizer_folder(tmp_path / "model"))
    folder = ModelFolder.open(tmp_path / "model")
    export_onnx(folder, tmp_path / "out")
    path = tmp_path / "out" / "onnx" / "model.onnx"
    graph = onnx.load(path)
    for initializer in graph.graph.initializer:
        if initializer.name == "score.weight":
            initializer.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(initializer) * 1.01, "score.weight"))
    onnx.save(graph, path)
    with pytest.raises(ModelFormatError, match="alone"):
        ClassifierVerifier(folder.path, folder.config).verify(path, FP32)
