from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend

from gpt2svc.errors import InvalidInputError
from gpt2svc.models.tokenizer import Tokenizer
from tests.models.tokenizer_texts import END, TEXTS


@pytest.fixture(params=["json_folder", "bpe_folder"])
def folder(request: pytest.FixtureRequest) -> Path:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Path)
    return found


@pytest.fixture(scope="module")
def tokenizer(json_folder: Path) -> Tokenizer:
    return Tokenizer.from_folder(json_folder)


@pytest.fixture(scope="module")
def reference(bpe_folder: Path) -> Any:
    from transformers import GPT2Tokenizer

    return GPT2Tokenizer.from_pretrained(str(bpe_folder))


@pytest.mark.parametrize("text", TEXTS)
def test_ids_and_text_equal_those_of_transformers(folder: Path, reference: Any, text: str) -> None:
    ours = Tokenizer.from_folder(folder)
    ids = ours.encode(text)
    assert ids == reference.encode(text, add_special_tokens=False)
    assert ours.decode(ids) == text == reference.decode(ids, clean_up_tokenization_spaces=False)


def test_pieces_of_characters_decode_as_in_transformers(tokenizer: Tokenizer, reference: Any) -> None:
    ids = tokenizer.encode("Ї🙂")
    for start in range(len(ids)):
        for end in range(start, len(ids) + 1):
            theirs = reference.decode(ids[start:end], clean_up_tokenization_spaces=False)
            assert tokenizer.decode(ids[start:end]) == theirs


@settings(max_examples=200, deadline=None)
@given(text=st.text())
def test_any_text_survives_the_round_trip(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert b"".join(map(tokenizer.token_bytes, ids)) == text.encode("utf-8")


def test_both_forms_of_the_files_know_the_same_tokens(json_folder: Path, bpe_folder: Path) -> None:
    first, second = Tokenizer.from_folder(json_folder), Tokenizer.from_folder(bpe_folder)
    assert first.vocab_size == second.vocab_size
    for token_id in range(first.vocab_size):
        assert first.token_bytes(token_id) == second.token_bytes(token_id)


def test_special_token_typed_by_a_user_is_ordinary_text(folder: Path) -> None:
    tokenizer = Tokenizer.from_folder(folder)
    assert tokenizer.eos_token_id == tokenizer.bos_token_id == 0
    text = f"end{END}of {END}{END} text"
    ids = tokenizer.encode(text)
    assert tokenizer.eos_token_id not in ids
    assert tokenizer.decode(ids) == text


def test_special_token_in_a_whole_prompt_is_that_token(folder: Path) -> None:
    tokenizer = Tokenizer.from_folder(folder)
    eos = tokenizer.eos_token_id
    assert tokenizer.special_tokens == {END: eos}
    reference = Backend.from_file(str(folder / "tokenizer.json")) if (folder / "tokenizer.json").exists() else None
    for text in (f"a{END}{END} b", END, "no mark", f"half <|endof{END}"):
        ids = tokenizer.encode_marked(text)
        assert ids.count(eos) == text.count(END)
        assert [i for i in ids if i != eos] == [i for part in text.split(END) for i in tokenizer.encode(part)]
        if reference is not None:
            assert ids == reference.encode(text).ids


def test_special_tokens_and_padding_ids_stand_for_nothing(tokenizer: Tokenizer) -> None:
    assert tokenizer.token_bytes(0) == b""
    assert tokenizer.token_bytes(tokenizer.vocab_size) == b""
    assert tokenizer.token_bytes(-1) == b""
    assert tokenizer.decode([0, *tokenizer.encode("so"), 0, 10**9]) == "so"


@pytest.mark.parametrize("text", ["\ud800", "a\udfff", "ok \ud83d then"])
def test_lone_surrogate_is_refused_by_place(tokenizer: Tokenizer, text: str) -> None:
    with pytest.raises(InvalidInputError, match=r"U\+D[0-9A-F]{3} at character \d"):
        tokenizer.encode(text)


@pytest.mark.timeout(60)  # quadratic work would take hours
@pytest.mark.parametrize("unit", ["a", " ", "\n", "!", "1", "Ї", "🙂", " a", "'", "\x00", "aA", "<|"])
def test_a_megabyte_of_one_thing_is_encoded_in_linear_time(tokenizer: Tokenizer, unit: str) -> None:
    text = unit * (1_000_000 // len(unit.encode("utf-8")))
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_special_tokens_beyond_the_model_are_never_encoded(json_folder: Path, tmp_path: Path) -> None:
    backend = Backend.from_file(str(json_folder / "tokenizer.json"))
    backend.add_special_tokens([AddedToken("[PAD]", special=True)])
    backend.save(str(tmp_path / "tokenizer.json"))
    tokenizer = Tokenizer.from_folder(tmp_path)
    assert tokenizer.max_encodable_id == tokenizer.vocab_size - 2
    assert max(tokenizer.encode("[PAD] [PAD]")) <= tokenizer.max_encodable_id
