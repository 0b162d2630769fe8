import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2LMHeadModel

from gpt2svc.cli.local_engine import LocalEngine
from gpt2svc.cli.main import run
from gpt2svc.cli.next_token import distribution, explore
from gpt2svc.config import load_settings
from gpt2svc.errors import ContextWindowError, InvalidInputError
from tests.fakes.checkpoints import random_gpt2
from tests.fakes.tokenizer import TINY_EOS_ID, TINY_VOCAB_SIZE, tiny_tokenizer, write_tokenizer_folder


@pytest.fixture(scope="module")
def reference() -> GPT2LMHeadModel:
    ids = {"bos_token_id": TINY_EOS_ID, "eos_token_id": TINY_EOS_ID}
    return random_gpt2(7, vocab_size=TINY_VOCAB_SIZE, n_positions=24, n_embd=16, n_layer=1, **ids)


@pytest.fixture(scope="module")
def folder(reference: GPT2LMHeadModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_tokenizer_folder(tmp_path_factory.mktemp("model"))
    reference.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def engine(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> LocalEngine:
    data_dir = tmp_path_factory.mktemp("data")
    settings = load_settings(model=str(folder), data_dir=data_dir, device="cpu", dtype="float32")
    return LocalEngine.load(settings, max_num_seqs=2)


def expected(reference: GPT2LMHeadModel, text: str) -> tuple[list[int], list[float]]:
    ids = tiny_tokenizer().encode(text, add_special_tokens=False).ids
    with torch.no_grad():
        top = torch.log_softmax(reference(torch.tensor([ids])).logits[0, -1], -1).topk(3)
    return top.indices.tolist(), top.values.tolist()


def test_command_lists_the_likeliest_tokens(
    folder: Path, reference: GPT2LMHeadModel, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["next-token", "the hello", "--top", "3", "--json", "--model", str(folder), "--device", "cpu"]) == 0
    body = json.loads(capsys.readouterr().out)
    ids, logprobs = expected(reference, "the hello")
    assert [token["token_id"] for token in body["tokens"]] == ids
    assert [token["logprob"] for token in body["tokens"]] == pytest.approx(logprobs, abs=1e-4)
    assert run(["next-token", "the hello", "--top", "2", "--model", str(folder), "--device", "cpu"]) == 0
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 2
    assert f"({ids[0]})" in shown.out
    assert "entropy" in shown.err


def test_number_takes_that_choice_and_goes_on(engine: LocalEngine, capsys: pytest.CaptureFixture[str]) -> None:
    lines = iter(["", "hello", "2", "999", "x" * 30])

    def read_line(prompt: str) -> str:
        try:
            return next(lines)
        except StopIteration:
            raise EOFError from None

    explore(engine, 3, as_json=True, read_line=read_line)
    shown = capsys.readouterr()
    found: list[dict[str, Any]] = [json.loads(line) for line in shown.out.splitlines()]
    assert len(found) == 3
    assert found[0] == distribution(engine, "hello", 3)
    assert found[1] == distribution(engine, "hello" + found[0]["tokens"][1]["text"], 3)
    assert found[2] == distribution(engine, "999", 3)
    assert "window" in shown.err


def test_text_has_to_fit_the_window(engine: LocalEngine) -> None:
    with pytest.raises(InvalidInputError):
        distribution(engine, "", 1)
    with pytest.raises(ContextWindowError):
        distribution(engine, "x" * 25, 1)
    assert len(distribution(engine, "x" * 24, 1)["tokens"]) == 1
