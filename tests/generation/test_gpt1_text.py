"""Replies of GPT-1: its tokens are words in lower case, and turns begin in its own spelling."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from gpt2svc.api.openai.echo import echoed_texts
from gpt2svc.generation.reply_prefix import prefix_of_ids
from gpt2svc.generation.reply_text import ReplyText
from gpt2svc.generation.stop_strings import StopStrings
from gpt2svc.models.tokenizer import Tokenizer
from tests.fakes.gpt1_tokenizer import write_gpt1_tokenizer

LABELS = ("User:", "Assistant:")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return Tokenizer.from_folder(write_gpt1_tokenizer(tmp_path_factory.mktemp("gpt1"), tokenization="standard"))


def written(reply: ReplyText, token_ids: Sequence[int]) -> list[str]:
    texts = []
    for token_id in token_ids:
        texts += [settled.text for settled in reply.push(token_id)]
        if reply.is_stopped:
            break
    return texts + [settled.text for settled in reply.finish(has_end_token=False)]


def test_reply_is_published_word_by_word_and_ends_before_the_next_turn(tokenizer: Tokenizer) -> None:
    reply = ReplyText(tokenizer, StopStrings((), LABELS, tokenizer.tokenization))
    token_ids = tokenizer.encode("hello , the cat !\nUser: on the mat")
    texts = written(reply, token_ids)
    assert "".join(texts) == "hello , the cat !"
    assert texts[:3] == ["hello", " ,", " the"]
    assert reply.is_stopped


@pytest.mark.parametrize(
    ("tokenization", "text", "kept"),
    [
        ("original", "yes . \n user : no", "yes ."),
        ("original", "the user : is text", "the user : is text"),
        ("original", "user : no", ""),
        ("standard", "yes . user : no", "yes ."),
        ("standard", "a superuser : is text", "a superuser : is text"),
        ("byte-level", "yes .\n user : is text", "yes .\n user : is text"),
    ],
)
def test_markers_are_those_of_the_tokenization(tokenization: str, text: str, kept: str) -> None:
    automaton = StopStrings((), LABELS, tokenization)  # type: ignore[arg-type]
    state = automaton.initial_state
    for index, character in enumerate(text):
        state = automaton.advance(state, character)
        if automaton.num_matched[state]:
            text = text[: max(0, index + 1 - automaton.num_matched[state])]
            break
    assert text.rstrip() == kept


def test_verbatim_text_goes_on_where_the_prompt_ended(tokenizer: Tokenizer) -> None:
    prompt, more = tokenizer.encode("the cat"), tokenizer.encode("on the mat")
    reply = ReplyText(tokenizer, StopStrings((), ()), is_verbatim=True, after=prompt[-1])
    texts = written(reply, more)
    assert "".join(echoed_texts(tokenizer, prompt)) + "".join(texts) == tokenizer.decode([*prompt, *more])


def test_reply_that_is_continued_keeps_its_spaces(tokenizer: Tokenizer, tmp_path: Path) -> None:
    token_ids = tokenizer.encode("hello the cat")
    stop_strings = StopStrings((), LABELS, tokenizer.tokenization)
    prefix = prefix_of_ids(token_ids, tokenizer, stop_strings)
    assert prefix is not None
    rest = ReplyText.after(tokenizer, stop_strings, token_ids)
    assert "".join(written(rest, tokenizer.encode("on the mat"))) == " on the mat"
