from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from gpt2svc.training.transcript import END_OF_TEXT, Turn, render_transcript
from gpt2svc.training.vocabulary import read_tokenizer, tokenizer_files, train_vocabulary

TEXTS = ["User: Привіт!\nAssistant: Вітаю, як справи?", "User: Hello there\nAssistant: Hello! How are you?"] * 20
TOKENIZER = train_vocabulary(TEXTS, 300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer")
    for name, text in tokenizer_files(TOKENIZER, 64).items():
        (path / name).write_text(text, encoding="utf-8")
    return path


def test_the_vocabulary_has_the_wanted_size_and_the_end_marker_first() -> None:
    assert TOKENIZER.get_vocab_size() == 300
    assert TOKENIZER.token_to_id(END_OF_TEXT) == 0


@settings(max_examples=100, deadline=None)
@given(st.text())
def test_every_string_round_trips(text: str) -> None:
    ids = TOKENIZER.encode(text, add_special_tokens=False).ids
    assert TOKENIZER.decode(ids, skip_special_tokens=False) == text


@pytest.mark.parametrize("text", ["Привіт, світе! Ґанок, їжак", "👩‍👩‍👧 emoji 🇺🇦", "\x00\t\r\n  a  ", " leading"])
def test_the_saved_tokenizer_round_trips_and_agrees_with_transformers(folder: Path, text: str) -> None:
    from transformers import AutoTokenizer

    loaded: Tokenizer = read_tokenizer(folder)
    theirs = AutoTokenizer.from_pretrained(folder)
    ids = loaded.encode(text).ids
    assert loaded.decode(ids) == text
    assert theirs(text)["input_ids"] == ids
    assert theirs.decode(ids) == text
    assert (theirs.eos_token_id, theirs.bos_token_id) == (0, 0)
    assert theirs.model_max_length == 64


def test_the_chat_template_renders_what_training_renders(folder: Path) -> None:
    from transformers import AutoTokenizer

    turns = [Turn("user", " Привіт "), Turn("assistant", "Вітаю!"), Turn("user", "Як справи?")]
    messages = [{"role": turn.role, "content": turn.content} for turn in turns]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == render_transcript(turns) + "\nAssistant:"


def test_the_space_before_a_reply_belongs_to_its_first_token() -> None:
    prompt = "User: Hello there\nAssistant:"
    whole = TOKENIZER.encode(prompt + " Hello! How are you?").ids
    assert whole[: len(TOKENIZER.encode(prompt).ids)] == TOKENIZER.encode(prompt).ids
