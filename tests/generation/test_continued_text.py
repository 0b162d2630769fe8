"""A reply that is cut anywhere and continued has the text that it would have had."""

from pathlib import Path

import pytest

from gpt2svc.chat.prompt import TURN_LABELS
from gpt2svc.generation.continued_text import ContinuedText
from gpt2svc.generation.post_processing import PostProcessing
from gpt2svc.generation.reply_prefix import ReplyPrefix, prefix_of_text, prefix_of_tokens
from gpt2svc.generation.reply_text import ReplyText
from gpt2svc.generation.stop_strings import StopStrings
from gpt2svc.models.tokenizer import Tokenizer
from gpt2svc.persistence.records import TokenRecord
from tests.fakes.tokenizer import write_tokenizer_folder


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    return Tokenizer.from_folder(write_tokenizer_folder(folder))


def written(text: ReplyText | ContinuedText, token_ids: list[int], *, has_end: bool) -> list[TokenRecord]:
    """What is published of these tokens, up to a stop."""
    settled = []
    for token_id in token_ids:
        settled += text.push(token_id)
        if text.is_stopped:
            break
    settled += text.finish(has_end_token=has_end)
    return [TokenRecord(seq, token.token_id, token.text) for seq, token in enumerate(settled, start=1)]


def joined(tokens: list[TokenRecord]) -> str:
    return "".join(token.text for token in tokens)


@pytest.mark.parametrize(
    ("text", "stop"),
    [
        (" Hello the hello, there  again", ()),
        (" Привіт! 👍🏽 і ще", ()),
        ("  two spaces\n\n\nand lines\n \n more ", ()),
        (" before STOP after", ("STOP",)),
        (" before STO after", ("STOP",)),
        (" one\nUser: two", ()),
        (" one\nUs and\nUserx", ()),
        ("\x00 nul", ()),
    ],
)
@pytest.mark.parametrize("has_end", [True, False])
def test_every_cut_leads_to_the_uncut_text(
    tokenizer: Tokenizer, text: str, stop: tuple[str, ...], has_end: bool
) -> None:
    stops = StopStrings(stop, TURN_LABELS)
    token_ids = tokenizer.encode(text)
    uncut = written(ReplyText(tokenizer, stops), token_ids, has_end=has_end)
    for cut in range(1, len(token_ids)):
        kept = written(ReplyText(tokenizer, stops), token_ids[:cut], has_end=False)
        if not joined(kept):
            continue
        prefix = prefix_of_tokens(joined(kept), kept, tokenizer, stops, was_cut=True)
        assert prefix is not None
        assert prefix.token_ids == tuple(token_ids[: len(kept)])
        assert joined(kept).startswith(prefix.text)
        assert len(joined(kept)) - len(prefix.text) <= 4  # what had only begun
        rest = written(ContinuedText(tokenizer, stops, prefix), token_ids[len(kept) :], has_end=has_end)
        assert prefix.text + joined(rest) == joined(uncut), cut
        # And once more, from the middle of what was added.
        if len(rest) > 1:
            part = written(ContinuedText(tokenizer, stops, prefix), token_ids[len(kept) : -1], has_end=False)
            whole = [*prefix.tokens, *part]
            again = prefix_of_tokens(joined(whole), whole, tokenizer, stops, was_cut=True)
            if again is not None:  # else a token's text came without a token of its own: see ContinuedText.finish
                added = written(ContinuedText(tokenizer, stops, again), token_ids[len(again.tokens) :], has_end=has_end)
                assert again.text + joined(added) == joined(uncut), cut


@pytest.mark.parametrize(
    "text",
    [
        " One two. Three four! Five six… so. And",
        " Yes. It is 3.14 metres so",
        " Привіт! 👍🏽 І ще. Та",
        " no end at all",
        " a b c d a b c d a b e. F a b",
        " Ні, ні. Ні, ні. Ні, ні. Так. a b c d\n\na b c d\n\na b",
        " one\nUser: two",
    ],
)
@pytest.mark.parametrize("collapse", [True, False])
@pytest.mark.parametrize("trim", [True, False])
def test_every_cut_leads_to_the_same_processed_text(
    tokenizer: Tokenizer, text: str, collapse: bool, trim: bool
) -> None:
    processing = PostProcessing(collapse_repeats=collapse, trim_to_sentence=trim)
    stops = StopStrings((), TURN_LABELS)
    token_ids = tokenizer.encode(text)
    uncut = written(ReplyText(tokenizer, stops, processing=processing), token_ids, has_end=False)
    num_exact = 0
    for cut in range(1, len(token_ids)):
        kept = written(ReplyText(tokenizer, stops, processing=processing), token_ids[:cut], has_end=False)
        assert [token.token_id for token in kept] == token_ids[: len(kept)]
        if not joined(kept):
            continue
        prefix = prefix_of_tokens(joined(kept), kept, tokenizer, stops, was_cut=True, processing=processing)
        assert prefix is not None
        assert prefix.token_ids == tuple(token_ids[: len(kept)])
        assert joined(kept).startswith(prefix.text)
        continued = ContinuedText(tokenizer, stops, prefix, processing)
        rest = written(continued, token_ids[len(kept) :], has_end=False)
        assert prefix.text + joined(rest) == joined(uncut), cut
        num_exact += 1
    assert num_exact


def test_passage_before_a_written_beginning_ends_is_not_said_again(tokenizer: Tokenizer) -> None:
    prefix = prefix_of_text("One two three four.", tokenizer)
    processing = PostProcessing(collapse_repeats=True, trim_to_sentence=True)
    text = ContinuedText(tokenizer, StopStrings((), ()), prefix, processing)
    rest = written(text, tokenizer.encode(" One two three four. Five. Six"), has_end=False)
    assert joined(rest) == " Five."


def test_stop_string_in_the_beginning_does_not_end_what_follows(tokenizer: Tokenizer) -> None:
    for prefix in (prefix_of_text("a STOP b\nUser: c", tokenizer), sampled("a STOP b", tokenizer)):
        text = ContinuedText(tokenizer, StopStrings(("STOP",), TURN_LABELS), prefix)
        rest = written(text, tokenizer.encode(" and on STOP no"), has_end=True)
        assert joined(rest) == " and on"
        assert text.is_stopped


def sampled(content: str, tokenizer: Tokenizer) -> ReplyPrefix:
    kept = written(ReplyText(tokenizer, StopStrings((), ())), tokenizer.encode(f" {content}"), has_end=True)
    prefix = prefix_of_tokens(content, kept, tokenizer, StopStrings((), ()), was_cut=False)
    assert prefix is not None
    return prefix


def test_tokens_that_do_not_spell_the_text_are_no_prefix(tokenizer: Tokenizer) -> None:
    stops = StopStrings((), ())
    kept = [TokenRecord(1, tokenizer.encode("a")[0], "a")]
    assert prefix_of_tokens("b", kept, tokenizer, stops, was_cut=True) is None
    assert prefix_of_tokens("", [], tokenizer, stops, was_cut=True) is None
    other = [TokenRecord(1, tokenizer.encode("x")[0], "a")]
    assert prefix_of_tokens("a", other, tokenizer, stops, was_cut=True) is None
    cut = [TokenRecord(1, tokenizer.encode("hello")[0], "he")]
    assert prefix_of_tokens("he", cut, tokenizer, stops, was_cut=False) is None
    assert prefix_of_tokens("he", cut, tokenizer, stops, was_cut=True) is not None


def test_prefix_is_numbered_up_to_zero(tokenizer: Tokenizer) -> None:
    prefix = prefix_of_text("the hello", tokenizer)
    assert [token.seq for token in prefix.tokens] == list(range(1 - len(prefix.tokens), 1))
    assert (prefix.text, prefix.is_as_sampled) == ("the hello", False)
    assert list(prefix.token_ids) == tokenizer.encode(" the hello")
