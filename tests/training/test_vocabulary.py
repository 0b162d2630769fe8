import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2svc.errors import InvalidInputError
from gpt2svc.models.tokenizer import Tokenizer
from gpt2svc.training.transcript import Turn, render_transcript
from gpt2svc.training.vocabulary import learned_vocabulary, own_vocabulary

TEXTS = ["User: Привіт!\nAssistant: Вітаю, як справи?", "User: Hello there\nAssistant: Hello! How are you?"] * 20
FILES = learned_vocabulary(TEXTS, 300, 64)


def written(folder: Path, files: Mapping[str, bytes]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("tokenizer"), FILES)


@pytest.fixture(scope="module")
def learned(folder: Path) -> Tokenizer:
    return Tokenizer.from_folder(folder)


def test_the_vocabulary_has_the_wanted_size_and_its_markers_first(learned: Tokenizer) -> None:
    assert (learned.vocab_size, learned.eos_token_id) == (300, 0)
    assert learned.special_tokens == {"<|endoftext|>": 0, "<|pad|>": 1}


@settings(max_examples=100, deadline=None)
@given(text=st.text())
def test_every_string_round_trips(learned: Tokenizer, text: str) -> None:
    assert learned.decode(learned.encode(text)) == text


@pytest.mark.parametrize("text", ["Привіт, світе! Ґанок, їжак", "👩‍👩‍👧 emoji 🇺🇦", "\x00\t\r\n  a  ", " leading"])
def test_the_saved_tokenizer_agrees_with_transformers(folder: Path, learned: Tokenizer, text: str) -> None:
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(folder)
    ids = learned.encode(text)
    assert learned.decode(ids) == text
    assert theirs(text)["input_ids"] == ids
    assert theirs.decode(ids) == text
    assert (theirs.eos_token_id, theirs.bos_token_id, theirs.pad_token_id) == (0, 0, 1)
    assert theirs.model_max_length == 64


def test_the_chat_template_renders_what_training_renders(folder: Path) -> None:
    from transformers import AutoTokenizer

    turns = [Turn("user", " Привіт "), Turn("assistant", "Вітаю!"), Turn("user", "Як справи?")]
    messages = [{"role": turn.role, "content": turn.content} for turn in turns]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == render_transcript(turns) + "\nAssistant:"
    system = [{"role": "system", "content": "Be brief."}, *messages]
    assert tokenizer.apply_chat_template(system, tokenize=False, add_generation_prompt=True) == "Be brief.\n" + text


def test_the_space_before_a_reply_belongs_to_its_first_token(learned: Tokenizer) -> None:
    prompt = "User: Hello there\nAssistant:"
    whole = learned.encode(prompt + " Hello! How are you?")
    assert whole[: len(learned.encode(prompt))] == learned.encode(prompt)


def vocab_file(tmp_path: Path, vocab: Any) -> Path:
    path = tmp_path / "vocab.json"
    path.write_text(vocab if isinstance(vocab, str) else json.dumps(vocab), encoding="utf-8")
    return path


def test_an_own_vocabulary_keeps_its_ids_and_its_tokens_are_read_from_text(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    vocab = {"<pad>": 0, "<eos>": 1, **{f"t{number}": number + 2 for number in range(20)}, "🎵": 22}
    folder = written(tmp_path / "model", own_vocabulary(vocab_file(tmp_path, vocab), 64))
    ours, theirs = Tokenizer.from_folder(folder), AutoTokenizer.from_pretrained(folder)
    assert (ours.vocab_size, ours.eos_token_id, theirs.pad_token_id) == (23, 1, 0)
    assert ours.encode("t1 t12\nt3🎵") == theirs("t1 t12\nt3🎵")["input_ids"] == [3, 14, 5, 22]
    assert ours.decode([3, 14, 22]) == "t1t12🎵"


def test_missing_markers_are_added_after_the_own_tokens(tmp_path: Path) -> None:
    folder = written(tmp_path / "model", own_vocabulary(vocab_file(tmp_path, {"a": 0, "b": 1}), 64))
    assert Tokenizer.from_folder(folder).special_tokens == {"<|endoftext|>": 2, "<|pad|>": 3}


def test_a_vocabulary_with_merges_is_a_bpe(tmp_path: Path, folder: Path, learned: Tokenizer) -> None:
    described = json.loads((folder / "tokenizer.json").read_text())["model"]
    path = vocab_file(tmp_path, described["vocab"])
    (tmp_path / "merges.txt").write_text("\n".join(" ".join(pair) for pair in described["merges"]), encoding="utf-8")
    again = Tokenizer.from_folder(written(tmp_path / "model", own_vocabulary(path, 64)))
    assert again.encode(TEXTS[0]) == learned.encode(TEXTS[0])


@pytest.mark.parametrize(
    ("vocab", "complaint"),
    [
        ("{", "not JSON"),
        ([], "must be an object"),
        ({"a": "x"}, "must be an object"),
        ({"a": 0, "b": 2}, "from 0 to 1, each once"),
        ({"a": 0, "b": 0}, "from 0 to 1, each once"),
        ({"": 0, "b": 1}, "empty token"),
    ],
)
def test_a_broken_vocabulary_is_refused(tmp_path: Path, vocab: Any, complaint: str) -> None:
    with pytest.raises(InvalidInputError, match=complaint):
        own_vocabulary(vocab_file(tmp_path, vocab), 64)
