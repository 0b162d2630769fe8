import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    OpenAIGPTConfig,
    OpenAIGPTLMHeadModel,
)

from gpt2svc.errors import InvalidInputError
from gpt2svc.training.classification import macro_f1
from gpt2svc.training.display import SilentDisplay
from gpt2svc.training.documents import CorpusError
from gpt2svc.training.run import train
from gpt2svc.training.settings import Source, TrainingSettings
from gpt2svc.training.vocabulary import learned_vocabulary
from tests.training.conftest import write_rows

RowsFile = Callable[..., Path]
SETTINGS = TrainingSettings(
    task="classification", max_steps=30, per_device_train_batch_size=8, learning_rate=3e-3, eval_steps=15,
    save_steps=100, logging_steps=10, device="cpu", validation_split=0.2,
)  # fmt: skip
# Long and short rows in one batch: what is pooled must be each row's own last token.
ROWS = [
    {"text": f"{'дуже ' * (index % 7)}{word} річ {index}: {word}", "label": label}
    for index in range(40)
    for word, label in (("добра", "good"), ("погана", "bad"), ("звичайна", "plain"))
]


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny GPT-2 without padding token, as the hub's are."""
    folder = tmp_path_factory.mktemp("gpt2")
    torch.manual_seed(1)
    config = GPT2Config(
        vocab_size=400, n_positions=64, n_embd=32, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0, resid_pdrop=0.0,
        embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    GPT2LMHeadModel(config).save_pretrained(folder)
    for name, content in learned_vocabulary((row["text"] for row in ROWS), 400, 64).items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(write_rows(tmp_path / "rows.jsonl", ROWS))


def test_a_classifier_learns_its_classes_and_reports_them(gpt2: Path, source: Source, tmp_path: Path) -> None:
    train(replace(SETTINGS, model=str(gpt2)), (source,), tmp_path / "out", SilentDisplay())
    report = json.loads((tmp_path / "out" / "validation.json").read_text())
    assert report["labels"] == ["bad", "good", "plain"]
    assert np.sum(report["confusion_matrix"]) == 24
    assert report["accuracy"] == np.trace(report["confusion_matrix"]) / 24 > 0.9
    assert report["macro_f1"] == pytest.approx(macro_f1(np.array(report["confusion_matrix"])))


def test_the_saved_classifier_gives_the_same_answers_in_transformers_padded_or_alone(
    gpt2: Path, source: Source, tmp_path: Path
) -> None:
    from gpt2svc.models.tokenizer import Tokenizer

    train(replace(SETTINGS, model=str(gpt2)), (source,), tmp_path / "out", SilentDisplay())
    folder = tmp_path / "out" / "best_model"
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    assert model.config.architectures == ["GPT2ForSequenceClassification"]
    assert model.config.id2label == {0: "bad", 1: "good", 2: "plain"}
    assert model.config.problem_type == "single_label_classification"
    tokenizer = Tokenizer.from_folder(folder)
    rows = [tokenizer.encode(ROWS[index]["text"]) for index in (0, 1, 20, 5)]
    longest = max(map(len, rows))
    padded = torch.tensor([row + [model.config.pad_token_id] * (longest - len(row)) for row in rows])
    with torch.no_grad():
        together = model(padded).logits
        alone = torch.cat([model(torch.tensor([row])).logits for row in rows])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)
    assert [model.config.id2label[int(index)] for index in alone.argmax(-1)] == ["good", "bad", "plain", "plain"]


def test_gpt1_classifies_too(tmp_path: Path, gpt2: Path, source: Source) -> None:
    torch.manual_seed(1)
    config = OpenAIGPTConfig(vocab_size=400, n_positions=64, n_embd=32, n_layer=2, n_head=2)
    OpenAIGPTLMHeadModel(config).save_pretrained(tmp_path / "gpt1")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "gpt1" / name).write_bytes((gpt2 / name).read_bytes())
    train(replace(SETTINGS, model=str(tmp_path / "gpt1")), (source,), tmp_path / "out", SilentDisplay())
    assert json.loads((tmp_path / "out" / "validation.json").read_text())["accuracy"] > 0.6
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out" / "best_model")
    assert model.config.architectures == ["OpenAIGPTForSequenceClassification"]


def test_gpt1_is_fine_tuned_as_a_language_model(tmp_path: Path, gpt2: Path, source: Source) -> None:
    torch.manual_seed(1)
    config = OpenAIGPTConfig(vocab_size=400, n_positions=64, n_embd=32, n_layer=2, n_head=2)
    OpenAIGPTLMHeadModel(config).save_pretrained(tmp_path / "gpt1")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "gpt1" / name).write_bytes((gpt2 / name).read_bytes())
    settings = replace(SETTINGS, model=str(tmp_path / "gpt1"), task="lm", bf16=True)
    train(settings, (source,), tmp_path / "out", SilentDisplay())
    lines = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    measured = [line["eval_perplexity"] for line in lines if "eval_perplexity" in line]
    assert measured[-1] < measured[0] < 400
    assert (tmp_path / "out" / "best_model" / "model.safetensors").exists()


def test_numbered_classes_must_be_in_range(gpt2: Path, rows_file: RowsFile, tmp_path: Path) -> None:
    rows = [{"text": "a", "label": 0}, {"text": "b", "label": 9}, {"text": "c", "label": 10}, {"text": "d"}]
    path = rows_file(*rows[:3])
    settings = replace(SETTINGS, model=str(gpt2), num_labels=10)
    with pytest.raises(CorpusError) as caught:
        train(settings, (Source(path),), tmp_path / "out", SilentDisplay())
    assert caught.value.problems == [f"{path}:3: label 10 is out of range: the classes are 0 to 9"]
    with pytest.raises(CorpusError, match='"label" is missing'):
        train(settings, (Source(rows_file(*rows, name="missing.jsonl")),), tmp_path / "out", SilentDisplay())
    one = Source(rows_file(rows[0], rows[0], name="one.jsonl"))
    with pytest.raises(InvalidInputError, match="one class only"):
        train(replace(settings, num_labels=None), (one,), tmp_path / "out", SilentDisplay())
    mixed = Source(rows_file(rows[0], {"text": "e", "label": "x"}, name="mixed.jsonl"))
    with pytest.raises(InvalidInputError, match="all numbers or all names"):
        train(replace(settings, num_labels=None), (mixed,), tmp_path / "out", SilentDisplay())
    assert not (tmp_path / "out").exists()


def test_macro_f1_is_the_mean_over_classes() -> None:
    # Class 0: precision 3/4, recall 3/5; class 1: 4/6 and 4/5; class 2 never occurs.
    assert macro_f1(np.array([[3, 2, 0], [1, 4, 0], [0, 0, 0]])) == pytest.approx((2 / 3 + 8 / 11) / 2)
