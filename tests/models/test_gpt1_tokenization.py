"""GPT-1's tokenizer against transformers' own, and the original way of cutting words."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import OpenAIGPTTokenizer

from gpt2svc.errors import ModelFormatError
from gpt2svc.generation.detokenizer import Detokenizer
from gpt2svc.models.gpt1_tokenization import resolve_tokenization
from gpt2svc.models.original_tokenization import is_available, standardized
from gpt2svc.models.tokenizer import Tokenizer
from tests.fakes.gpt1_tokenizer import GPT1_VOCAB_SIZE, write_gpt1_tokenizer

needs_original = pytest.mark.skipif(not is_available(), reason="ftfy and spaCy are not installed")

TEXTS = (
    "The cat didn't like the dog!",
    "User: hello\nAssistant: I am fine.",
    'He said - "nice"...',
    "  spaces   everywhere ",
    "Привіт, світе!",
    "日本 unknown ☃",
    "<unk> spelled out",
    "",
)


@pytest.fixture(scope="module")
def standard(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return Tokenizer.from_folder(write_gpt1_tokenizer(tmp_path_factory.mktemp("standard"), tokenization="standard"))


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> OpenAIGPTTokenizer:
    return OpenAIGPTTokenizer.from_pretrained(write_gpt1_tokenizer(tmp_path_factory.mktemp("theirs"), is_fast=False))


def joined(tokenizer: Tokenizer, token_ids: list[int]) -> str:
    detokenizer = Detokenizer(tokenizer)
    return "".join(map(detokenizer.push, token_ids)) + detokenizer.finish()


def test_standard_ids_and_text_are_those_of_transformers(standard: Tokenizer, theirs: OpenAIGPTTokenizer) -> None:
    assert standard.tokenization == "standard"
    for text in TEXTS[:6]:
        token_ids = standard.encode(text)
        assert token_ids == theirs.encode(text)
        assert standard.decode(token_ids) == theirs.decode(
            token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        assert joined(standard, token_ids) == standard.decode(token_ids)


@given(token_ids=st.lists(st.integers(0, GPT1_VOCAB_SIZE - 1), max_size=30))
def test_deltas_together_are_the_decoded_whole(standard: Tokenizer, token_ids: list[int]) -> None:
    assert joined(standard, token_ids) == standard.decode(token_ids)
    assert "".join(share.decode() for share in standard.spell(token_ids)) == standard.decode(token_ids)


def test_both_kinds_of_files_say_the_same(standard: Tokenizer, tmp_path: Path) -> None:
    fast = Tokenizer.from_folder(write_gpt1_tokenizer(tmp_path / "fast", is_fast=True, tokenization="standard"))
    unnamed = write_gpt1_tokenizer(tmp_path / "unnamed")
    (unnamed / "tokenizer_config.json").write_text(json.dumps({"tokenization": "standard"}))
    for tokenizer in (fast, Tokenizer.from_folder(unnamed)):
        for text in TEXTS:
            assert tokenizer.encode(text) == standard.encode(text)
            assert tokenizer.decode(tokenizer.encode(text)) == standard.decode(standard.encode(text))
        assert tokenizer.eos_token_id is None


def test_text_goes_on_with_the_space_that_the_prompt_ended_in(standard: Tokenizer) -> None:
    prompt, more = standard.encode("the cat"), standard.encode("sat on the mat")
    detokenizer = Detokenizer(standard, after=prompt[-1])
    assert "".join(map(detokenizer.push, more)) == " sat on the mat"
    assert standard.token_bytes(standard.encode("cat")[-1]).endswith(b" ")
    assert len({standard.token_bytes(token_id) for token_id in range(1, standard.vocab_size)}) == GPT1_VOCAB_SIZE - 1


@needs_original
def test_original_keeps_line_breaks_and_cuts_as_spacy_does(tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_folder(write_gpt1_tokenizer(tmp_path, tokenization="original"))
    assert tokenizer.tokenization == "original"
    token_ids = tokenizer.encode("User: HELLO…\n\n\nI didn’t — like it!!")
    assert tokenizer.decode(token_ids) == "user : hello ... \n i did n't - like it ! !"
    assert joined(tokenizer, token_ids) == tokenizer.decode(token_ids)
    assert tokenizer.encode("") == []
    assert tokenizer.decode(tokenizer.encode("Привіт, світе!")) == "привіт , світе !"


def test_punctuation_stands_apart_and_a_line_break_stands_for_all_of_them() -> None:
    assert standardized("a—b  (c)\t\n \n d!!! “e”…") == "a - b ( c ) \n d !!! “e”..."
    assert standardized("[[x]] {y} a_b *") == "[[ x ]] { y } a _ b *"


def test_recorded_tokenisation_that_is_unknown_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFormatError) as refusal:
        Tokenizer.from_folder(write_gpt1_tokenizer(tmp_path, tokenization="other"))
    assert refusal.value.field == "tokenization"
    assert resolve_tokenization(None, tmp_path) == ("original" if is_available() else "standard")
