"""Labels and choices: accuracy, macro F1 and confusion, by the folder and by a service, against transformers."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from transformers import GPT2Config, GPT2DoubleHeadsModel, GPT2ForSequenceClassification

from gpt2svc.app import create_app
from gpt2svc.cli.main import run
from gpt2svc.config import Settings
from gpt2svc.errors import InvalidInputError
from gpt2svc.evaluation.evaluation import EvaluationOptions, evaluate
from gpt2svc.evaluation.label_measures import classification_measures
from gpt2svc.evaluation.report import EvaluationReport
from gpt2svc.evaluation.served import evaluate_served
from gpt2svc.models.folder import ModelFolder
from gpt2svc.training.documents import CorpusError
from tests.evaluation.conftest import WINDOW
from tests.fakes.checkpoints import TINY, sharpened
from tests.fakes.running_app import running
from tests.fakes.tokenizer import TINY_EOS_ID, TINY_VOCAB_SIZE, tiny_tokenizer, write_tokenizer_folder

SHAPE = {**TINY, "vocab_size": TINY_VOCAB_SIZE, "n_positions": WINDOW, "bos_token_id": TINY_EOS_ID}
NAMES = ("ні", "так", "може")
TEXTS = ["hello", "the other thing", "Привіт", "a b c", "User: hi", "ing ing", "zzz", "4 + 4", "q", "hell no"]


def encode(text: str) -> list[int]:
    return list(tiny_tokenizer().encode(text, add_special_tokens=False).ids)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    """The folder, and what transformers makes of TEXTS."""
    torch.manual_seed(8)
    labels = {"id2label": dict(enumerate(NAMES)), "label2id": {name: i for i, name in enumerate(NAMES)}}
    model = sharpened(GPT2ForSequenceClassification(GPT2Config(**SHAPE, **labels, pad_token_id=TINY_EOS_ID)))
    folder = write_tokenizer_folder(tmp_path_factory.mktemp("classifier") / "model")
    model.save_pretrained(folder)
    with torch.no_grad():
        return folder, [int(model(torch.tensor([encode(text)])).logits.argmax()) for text in TEXTS]


def labelled(predictions: list[int]) -> list[dict[str, Any]]:
    """Rows by name, by number and as token ids; those at 3 and 7 have another label than the model's."""
    labels = [(label + 1) % 3 if i in (3, 7) else label for i, label in enumerate(predictions)]
    rows: list[dict[str, Any]] = [
        {"text": text, "label": NAMES[label] if i % 2 else label}
        for i, (text, label) in enumerate(zip(TEXTS, labels, strict=True))
    ]
    rows[2] = {"input_ids": encode(TEXTS[2]), "label": labels[2]}
    return rows


async def served(folder: Path, data: Path, tmp_path: Path, url_to_try: str, body: dict[str, Any]) -> EvaluationReport:
    app = create_app(Settings(data_dir=tmp_path / "data", model=str(folder), device="cpu"))
    async with running(app) as url:
        with httpx.Client(base_url=url, timeout=60) as client:
            for _ in range(600):
                ready = await asyncio.to_thread(client.post, url_to_try, json=body)
                if ready.status_code != 503:
                    break
                await asyncio.sleep(0.1)
            return await asyncio.to_thread(evaluate_served, client, data)


async def test_labels_measure_as_transformers_predicts_them(
    classifier: tuple[Path, list[int]], rows_file: Callable[..., Path], tmp_path: Path
) -> None:
    folder, predictions = classifier
    data = rows_file(labelled(predictions))
    report = evaluate(ModelFolder.open(folder), data, EvaluationOptions())
    assert report.metrics["label_accuracy"] == 0.8
    assert report.num_tokens == sum(len(encode(text)) for text in TEXTS)
    assert report.confusion is not None
    rows = report.confusion["rows"]
    assert [sum(column) for column in zip(*rows, strict=True)] == [predictions.count(i) for i in range(3)]
    assert list(report.confusion["labels"]) == list(NAMES)
    assert EvaluationReport.from_mapping(report.to_mapping()) == report

    over_http = await served(folder, data, tmp_path, "/api/classify", {"input": "a"})
    assert (over_http.metrics, over_http.confusion) == (report.metrics, report.confusion)
    assert (over_http.num_tokens, over_http.model_revision) == (report.num_tokens, report.model_revision)


def test_command_shows_measures_and_confusion(
    classifier: tuple[Path, list[int]],
    rows_file: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, predictions = classifier
    data = rows_file(labelled(predictions))
    command = [
        "eval",
        "--model",
        str(folder),
        "--data",
        str(data),
        "--device",
        "cpu",
        "--data-dir",
        str(tmp_path / "kept"),
    ]
    assert run(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "10 examples" in lines[1]
    assert any(line.split() == ["label_accuracy", "0.8000"] for line in lines)
    assert [line.split()[0] for line in lines[-3:]] == list(NAMES)
    assert sum(int(cell) for line in lines[-3:] for cell in line.split()[1:]) == 10
    assert run(["eval", "--history", "--data-dir", str(tmp_path / "kept")]) == 0
    assert "0.8000" in capsys.readouterr().out


def test_macro_f1_is_the_mean_over_labels_that_occur() -> None:
    metrics, confusion = classification_measures([0, 0, 1, 1], [0, 1, 1, 1], ["a", "b", "never"])
    assert metrics["label_accuracy"] == 0.75
    assert metrics["macro_f1"] == pytest.approx((2 * 1 / 3 + 2 * 2 / 5) / 2)  # F1 of a is 2/3, of b 4/5
    assert confusion["rows"] == [[1, 1, 0], [0, 2, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"text": "a"}, '"label" is missing'),
        ({"text": "a", "label": True}, '"label" must be'),
        ({"tokens": [TINY_VOCAB_SIZE], "label": 0}, "vocabulary"),
        ({"text": "x" * (WINDOW + 1), "label": 0}, "window"),
    ],
)
def test_rows_that_cannot_be_classified_are_listed(
    classifier: tuple[Path, list[int]], rows_file: Callable[..., Path], row: dict[str, Any], problem: str
) -> None:
    data = rows_file([{"text": "a", "label": 0}, row])
    with pytest.raises(CorpusError) as refusal:
        evaluate(ModelFolder.open(classifier[0]), data, EvaluationOptions())
    assert problem in refusal.value.problems[0]
    assert "2" in refusal.value.problems[0]


def test_label_that_the_model_has_not_is_refused(
    classifier: tuple[Path, list[int]], rows_file: Callable[..., Path]
) -> None:
    for label in (3, "ледве"):
        with pytest.raises(InvalidInputError, match="none of the model's"):
            evaluate(ModelFolder.open(classifier[0]), rows_file([{"text": "a", "label": label}]), EvaluationOptions())


async def test_choices_measure_by_head_and_by_likelihood(
    model_path: Path, rows_file: Callable[..., Path], tmp_path: Path
) -> None:
    torch.manual_seed(9)
    model = sharpened(GPT2DoubleHeadsModel(GPT2Config(**SHAPE)))
    folder = write_tokenizer_folder(tmp_path / "model")
    model.save_pretrained(folder)
    questions = [("the", [" hello", " a", " z"]), ("User:", [" hi", " hello there"]), ("Пр", ["ивіт", "ага", "о"])]
    best = []
    for prompt, choices in questions:
        with torch.no_grad():
            rows = [encode(prompt) + encode(choice) for choice in choices]
            scores = [float(model(torch.tensor([[row]])).mc_logits[0]) for row in rows]
        best.append(scores.index(max(scores)))
    labels = [best[0], best[1], (best[2] + 1) % 3]
    data = rows_file(
        {"prompt": prompt, "choices": choices, "label": label}
        for (prompt, choices), label in zip(questions, labels, strict=True)
    )
    report = evaluate(ModelFolder.open(folder), data, EvaluationOptions())
    assert report.metrics == {"choice_accuracy": pytest.approx(2 / 3)}
    assert report.settings["method"] == "head"
    over_http = await served(folder, data, tmp_path, "/api/next-token", {"prompt": "a"})
    assert (over_http.metrics, over_http.settings["method"]) == (report.metrics, "head")
    assert over_http.num_tokens == report.num_tokens
    plain = evaluate(ModelFolder.open(model_path), data, EvaluationOptions())
    assert plain.settings["method"] == "loglikelihood"
    with pytest.raises(CorpusError):
        evaluate(
            ModelFolder.open(folder), rows_file([{"prompt": "a", "choices": ["b"], "label": 0}]), EvaluationOptions()
        )
