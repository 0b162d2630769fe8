"""Deltas together are the decoded whole, whatever the tokens are."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2svc.generation.detokenizer import Detokenizer
from gpt2svc.models.tokenizer import Tokenizer
from tests.fakes.tokenizer import TINY_VOCAB_SIZE, write_tokenizer_folder


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    return Tokenizer.from_folder(write_tokenizer_folder(folder))


def deltas_of(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    detokenizer = Detokenizer(tokenizer)
    return [*(detokenizer.push(token_id) for token_id in ids), detokenizer.finish()]


@given(ids=st.lists(st.integers(0, TINY_VOCAB_SIZE + 3), max_size=40))
def test_deltas_of_random_tokens_are_the_full_decode(tokenizer: Tokenizer, ids: list[int]) -> None:
    assert "".join(deltas_of(tokenizer, ids)) == tokenizer.decode(ids)


@given(text=st.text(st.characters(codec="utf-8"), max_size=30))
def test_any_text_comes_back(tokenizer: Tokenizer, text: str) -> None:
    assert "".join(deltas_of(tokenizer, tokenizer.encode(text))) == text


@pytest.mark.parametrize("text", ["Привіт, світе! Її їжак", "👩‍👩‍👧 🇺🇦 👍🏽", "e\u0301 \u2028 \x85"])
def test_a_character_comes_whole_with_the_token_that_completes_it(tokenizer: Tokenizer, text: str) -> None:
    deltas = deltas_of(tokenizer, tokenizer.encode(text))
    assert "".join(deltas) == text
    assert not any("\ufffd" in delta for delta in deltas)
    assert "" in deltas[:-1]  # some tokens end inside a character


def test_an_unfinished_character_at_the_end_becomes_one_replacement(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("ok 👍")[:-1]
    deltas = deltas_of(tokenizer, ids)
    assert deltas[-1] == "\ufffd"
    assert "".join(deltas) == tokenizer.decode(ids) == "ok \ufffd"
