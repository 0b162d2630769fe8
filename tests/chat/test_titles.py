import pytest

from gpt2svc.chat.titles import MAX_TITLE_LENGTH, title_from_message


@pytest.mark.parametrize(
    ("content", "title"),
    [
        ("Hello!", "Hello!"),
        ("\n \n  Як   справи?\nІ ще одне", "Як справи?"),
        ("a\tb\x1b[31mc", "a b [31mc"),
        ("\u202etxt.exe", "txt.exe"),
        ("\n \t", None),
        ("👩‍👩‍👧 family", "👩‍👩‍👧 family"),
    ],
)
def test_title_is_the_first_line_that_shows_something(content: str, title: str | None) -> None:
    assert title_from_message(content) == title


def test_a_long_line_is_cut_at_a_word() -> None:
    title = title_from_message("Розкажи мені, будь ласка, про найцікавіші місця у Львові та навколо нього")
    assert title == "Розкажи мені, будь ласка, про найцікавіші місця у Львові та…"
    assert len(title) <= MAX_TITLE_LENGTH


@pytest.mark.parametrize("grapheme", ["e\u0301", "👍🏽", "👩‍👩‍👧", "ї"])
def test_a_line_without_words_is_cut_between_graphemes(grapheme: str) -> None:
    for offset in range(4):
        title = title_from_message("x" * offset + grapheme * 60)
        assert title is not None
        assert len(title) <= MAX_TITLE_LENGTH
        kept = title.removesuffix("…")[offset:]
        assert kept == grapheme * (len(kept) // len(grapheme)) != ""
