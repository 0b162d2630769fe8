import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from gpt2svc.training.display import SilentDisplay
from gpt2svc.training.perplexity import main, measure, windows
from gpt2svc.training.recipe import Recipe
from gpt2svc.training.trainer import train
from tests.training.conftest import chat_row, write_rows


@pytest.fixture
def folder(recipe: Recipe, tmp_path: Path) -> Path:
    train(recipe, tmp_path / "model", SilentDisplay())
    return tmp_path / "model"


@pytest.mark.parametrize("length", [2, 9, 10, 11, 16, 37])
def test_windows_score_each_token_after_the_first_once_with_half_a_window_before_it(length: int) -> None:
    scored = []
    for window in windows(np.arange(length), 9):
        assert len(window.token_ids) <= 10
        assert window.num_context == 0 or window.num_context >= 4
        scored += window.token_ids[1:][window.num_context :].tolist()
    assert scored == list(range(1, length))


def test_the_measure_equals_a_plain_transformers_loop(folder: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer, GPT2LMHeadModel

    # The last row is longer than the window of 64.
    rows = [chat_row("Привіт! 👋", "Вітаю"), {"text": "Two\nlines"}, {"text": "Довгий рядок тексту. " * 9}]
    result = measure(folder, write_rows(tmp_path / "test.jsonl", rows))

    model, tokenizer = GPT2LMHeadModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    texts = ["User: Привіт! 👋\nAssistant: Вітаю", "Two\nlines", "Довгий рядок тексту. " * 9]
    nats = 0.0
    num_tokens = 0
    for text in texts:
        ids = torch.tensor([*tokenizer(text)["input_ids"], tokenizer.eos_token_id])
        done = 0
        for start in range(0, len(ids) - 1, 32):
            part = ids[start : start + 65]
            with torch.no_grad():
                logp = model(part[:-1].unsqueeze(0)).logits[0].log_softmax(-1)
            picked = logp.gather(1, part[1:].unsqueeze(1)).squeeze(1)[done - start :]
            nats -= picked.sum().item()
            num_tokens += len(picked)
            done = start + len(part) - 1
            if done == len(ids) - 1:
                break
    assert result.num_tokens == num_tokens
    assert result.nats == pytest.approx(nats, rel=1e-5)
    assert result.perplexity == pytest.approx(math.exp(nats / num_tokens), rel=1e-4)
    # A byte-level token has one character a byte, also where it is a part of a letter.
    firsts = sum(len(tokenizer.tokenize(text)[0]) for text in texts)
    num_bytes = sum(len(text.encode()) for text in texts) - firsts
    assert result.bits_per_byte == pytest.approx(nats / math.log(2) / num_bytes, rel=1e-4)


def test_the_command_prints_json_and_ends_errors_with_two(
    folder: Path, corpus_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--model", str(folder), "--data", str(corpus_file), "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert described["num_documents"] == 60
    assert 1 < described["perplexity"] < 300
    assert main(["--model", str(folder), "--data", "missing.jsonl"]) == 2
    assert "missing.jsonl" in capsys.readouterr().err
