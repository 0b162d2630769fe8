"""`gpt2svc classify` and `gpt2svc choose`, against transformers."""

import io
import json
from pathlib import Path

import pytest
import torch
from transformers import GPT2Config, GPT2DoubleHeadsModel, GPT2ForSequenceClassification

from gpt2svc.cli.main import run
from tests.fakes.checkpoints import TINY, random_gpt2, sharpened
from tests.fakes.tokenizer import TINY_VOCAB_SIZE, tiny_tokenizer, write_tokenizer_folder

SHAPE = {**TINY, "vocab_size": TINY_VOCAB_SIZE, "n_positions": 48}
LABELS = {0: "ні", 1: "так", 2: "може"}


def encode(text: str) -> list[int]:
    return list(tiny_tokenizer().encode(text, add_special_tokens=False).ids)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> tuple[GPT2ForSequenceClassification, str]:
    torch.manual_seed(8)
    config = GPT2Config(**SHAPE, id2label=LABELS, label2id={name: i for i, name in LABELS.items()})
    model = sharpened(GPT2ForSequenceClassification(config))
    folder = write_tokenizer_folder(tmp_path_factory.mktemp("classifier"))
    model.save_pretrained(folder)
    return model, str(folder)


def test_labels_of_texts_and_of_lines(
    classifier: tuple[GPT2ForSequenceClassification, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, folder = classifier
    texts = ["hello", "Привіт the thing", *(f"line {i}" for i in range(20))]
    assert run(["classify", *texts[:2], "--json", "--model", folder, "--device", "cpu"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for text, described in zip(texts[:2], found, strict=True):
        with torch.no_grad():
            expected = model(torch.tensor([encode(text)])).logits[0].softmax(-1).tolist()
        assert described["label"] == LABELS[expected.index(max(expected))]
        assert [label["probability"] for label in described["labels"]] == pytest.approx(
            sorted(expected, reverse=True), abs=2e-4
        )
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(texts) + "\n\n"))
    assert run(["classify", "--top", "1", "--model", folder, "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0::2] == texts
    assert all(line.split()[-1] in LABELS.values() for line in lines[1::2])


def test_choices_are_ranked_and_the_way_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(9)
    model = sharpened(GPT2DoubleHeadsModel(GPT2Config(**SHAPE)))
    model.save_pretrained(write_tokenizer_folder(tmp_path / "two"))
    random_gpt2(3, **SHAPE).save_pretrained(write_tokenizer_folder(tmp_path / "one"))
    choices = [" hello", " a", " ÿ"]
    with torch.no_grad():
        scores = [float(model(torch.tensor([[encode("the") + encode(each)]])).mc_logits[0]) for each in choices]
    command = ["choose", "the", *choices, "--device", "cpu", "--model"]
    assert run([*command, str(tmp_path / "two"), "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert body["method"] == "head"
    assert [each["text"] for each in body["choices"]] == sorted(choices, key=lambda c: -scores[choices.index(c)])
    assert run([*command, str(tmp_path / "one"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["method"] == "loglikelihood"


def test_what_cannot_be_answered_is_said(
    classifier: tuple[GPT2ForSequenceClassification, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random_gpt2(3, **SHAPE).save_pretrained(write_tokenizer_folder(tmp_path))
    for arguments, said in (
        (["classify", "a", "--model", str(tmp_path)], "no head for classification"),
        (["classify", "x" * 49, "--model", classifier[1]], "window is 48"),
        (["classify", "", "--model", classifier[1]], "empty"),
        (["choose", "a", "b", "--model", str(tmp_path)], "2 choices"),
        (["choose", "a", "b", "c", "--model", classifier[1]], "classifies"),
        (["generate", "a", "--max-new-tokens", "5", "--model", classifier[1]], "classifies"),
        (["next-token", "a", "--model", classifier[1]], "classifies"),
    ):
        assert run([*arguments, "--device", "cpu"]) == 2, arguments
        assert said in capsys.readouterr().err, arguments
