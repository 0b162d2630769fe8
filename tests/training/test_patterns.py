"""The documented run on made-up sequences, small: own vocabulary, language model, then a classifier made from it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gpt2svc.errors import InvalidInputError
from gpt2svc.models.tokenizer import Tokenizer
from gpt2svc.training.display import SilentDisplay
from gpt2svc.training.documents import CorpusError
from gpt2svc.training.run import train
from gpt2svc.training.settings import Source, TrainingSettings

SCRIPT = Path(__file__).parents[2] / "scripts" / "pattern_data.py"
TINY = {"n_layer": 2, "n_head": 4, "n_embd": 64, "n_positions": 80}


@pytest.fixture(scope="module")
def patterns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("patterns")
    command = [sys.executable, str(SCRIPT), "--num-sequences", "150", "--output-dir", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def settings(folder: Path, **changes: object) -> TrainingSettings:
    given = {
        "from_scratch": True, "vocab": folder / "vocab.json", "max_steps": 40, "learning_rate": 5e-3, "device": "cpu",
        "eval_steps": 20, "save_steps": 100, "logging_steps": 10, "per_device_train_batch_size": 8, **TINY, **changes,
    }  # fmt: skip
    return TrainingSettings(**given)  # type: ignore[arg-type]


def test_patterns_are_learned_and_the_model_becomes_a_classifier(patterns: Path, tmp_path: Path) -> None:
    sources = (Source(patterns / "sequences.jsonl"),)
    train(settings(patterns), sources, tmp_path / "lm", SilentDisplay())
    report = json.loads((tmp_path / "lm" / "validation.json").read_text())
    assert report["perplexity"] < 250  # of 516 tokens, each as likely as the other before training
    assert "bits_per_byte" not in report
    best = tmp_path / "lm" / "best_model"
    config = json.loads((best / "config.json").read_text())
    assert (config["vocab_size"], config["pad_token_id"], config["eos_token_id"]) == (516, 0, 2)
    assert Tokenizer.from_folder(best).encode("n1 n511") == [5, 515]
    tuned = TrainingSettings(
        task="classification", model=str(best), max_steps=20, learning_rate=3e-3, per_device_train_batch_size=8,
        eval_steps=10, device="cpu",
    )  # fmt: skip
    train(tuned, sources, tmp_path / "classifier", SilentDisplay())
    report = json.loads((tmp_path / "classifier" / "validation.json").read_text())
    assert report["loss"] < 2.3  # ln 10 is chance
    assert len(report["confusion_matrix"]) == 10


def test_a_vocabulary_that_does_not_cover_the_data_is_refused(patterns: Path, tmp_path: Path) -> None:
    small = tmp_path / "vocab.json"
    small.write_text(json.dumps({f"n{number}": number for number in range(100)}))
    sources = (Source(patterns / "sequences.jsonl"),)
    with pytest.raises(CorpusError, match="but the vocabulary's ids end at 101") as caught:
        train(settings(patterns, vocab=small), sources, tmp_path / "out", SilentDisplay())
    assert len(caught.value.problems) == 20
    with pytest.raises(InvalidInputError, match=r"--vocab vocab\.json"):
        train(settings(patterns, vocab=None), sources, tmp_path / "out", SilentDisplay())
    assert not (tmp_path / "out").exists()
