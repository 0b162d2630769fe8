import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2svc.cli.completion_text import CompletionText
from gpt2svc.generation.stop_strings import StopStrings
from gpt2svc.models.tokenizer import Tokenizer
from tests.fakes.tokenizer import write_tokenizer_folder

with tempfile.TemporaryDirectory() as folder:
    TOKENIZER = Tokenizer.from_folder(write_tokenizer_folder(Path(folder)))


def written(tokenizer: Tokenizer, ids: list[int], stop: tuple[str, ...] = ()) -> tuple[list[str], bool]:
    """The texts in the order in which they came out, and whether a stop string ended them."""
    text = CompletionText(tokenizer, StopStrings(stop, ()))
    pieces = [token.text for token_id in ids for token in text.push(token_id)]
    pieces += [token.text for token in text.finish()]
    return pieces, text.is_stopped


@pytest.mark.parametrize("prose", ["  Hello\n\nUser: you ", "Привіт, світе! 🙂", "\tліворуч  "])
def test_every_character_comes_out(prose: str) -> None:
    pieces, is_stopped = written(TOKENIZER, TOKENIZER.encode(prose))
    assert "".join(pieces) == prose
    assert not is_stopped


@settings(max_examples=200, deadline=None)
@given(ids=st.lists(st.integers(0, TOKENIZER.vocab_size - 1), max_size=40))
def test_any_tokens_come_out_as_their_decoded_whole_one_piece_a_token(ids: list[int]) -> None:
    pieces, _ = written(TOKENIZER, ids)
    assert "".join(pieces) == TOKENIZER.decode(ids)
    assert len(pieces) == len(ids)


@settings(max_examples=200, deadline=None)
@given(prose=st.text("abcї ", max_size=30), stop=st.lists(st.text("abї ", min_size=1, max_size=4), max_size=3))
def test_the_text_ends_before_the_first_stop_string(prose: str, stop: list[str]) -> None:
    ends = {position for string in stop if (position := prose.find(string)) >= 0}
    pieces, is_stopped = written(TOKENIZER, TOKENIZER.encode(prose), tuple(stop))
    assert is_stopped == bool(ends)
    text = "".join(pieces)
    assert prose.startswith(text)
    assert not any(string in text for string in stop)
    if not ends:
        assert text == prose


def test_what_could_become_a_stop_string_waits_and_nothing_else_does() -> None:
    text = CompletionText(TOKENIZER, StopStrings(("END",), ()))
    ids = TOKENIZER.encode("a")
    assert "".join(token.text for i in ids for token in text.push(i)) == "a"
    held = [token.text for i in TOKENIZER.encode("EN") for token in text.push(i)]
    assert "".join(held) == ""
    assert "".join(token.text for token in text.finish()) == "EN"
