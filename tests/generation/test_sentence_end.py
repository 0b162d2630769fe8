import pytest

from gpt2svc.generation.sentence_end import SentenceTrim, last_sentence_end
from gpt2svc.generation.settled_token import SettledToken


def _tokens(text: str, size: int) -> list[SettledToken]:
    return [SettledToken(i, text[i : i + size], None) for i in range(0, len(text), size)]


def _trimmed(text: str, size: int) -> str:
    trim = SentenceTrim()
    settled = [settled for token in _tokens(text, size) for settled in trim.push([token])]
    settled += trim.finish()
    return "".join(token.text for token in settled)


# | marks where the text is cut; without one it stays as it is.
CASES = [
    "Hello there.| How are",
    "Hello there! How are you?|",
    "Привіт! Як справи?| Я ж",
    "Так…| Або ні",
    "Wait...| And then",
    "no end at all",
    "",
    "So it is.|\n\nThe next",
    'He said "no."| Then he',
    "«Так!» – сказав він.| Потім",
    '"Really?" she asked',
    "“Really?” She asked.| And",
    "Він сказав: «Ні.»| І пішов",
    "(Like this.)| But",
    "Ну… я не знаю",
    "It is 3.14 metres",
    "It costs 5.| More than",
    "Вітаю! 😊| Я тут",
    "Дякую 😊 за все",
    "Fine! 👍🏽🎉| And",
    "T. Shevchenko wrote",
    "Т. Г. Шевченко народився в с. Моринці",
    "It was Mr. Smith.| He",
    "See e.g. Smith",
    "I met the U.S. Army",
    "So do I.| You too",
    "Steps:\n1. Mix it.| Then\n2. Bake",
    "1. Mix it well",
    "One. Two.| Three",
    "Done.|   ",
    "Really?!| No",
    "a.b.c and so",
]


@pytest.mark.parametrize("case", CASES)
def test_text_is_cut_after_its_last_full_sentence(case: str) -> None:
    text = case.replace("|", "")
    expected = case[: case.index("|")] if "|" in case else case
    if case == "It was Mr. Smith.| He":
        expected = "It was Mr. Smith."
    if case == "One. Two.| Three":
        expected = "One. Two."
    for size in (1, 2, 5, 100):
        assert _trimmed(text, size) == expected, size


def test_a_sentence_comes_when_the_next_begins_and_not_before() -> None:
    trim = SentenceTrim()
    published = []
    for token in _tokens("One two. Three. four", 1):
        published.append("".join(settled.text for settled in trim.push([token])))
    text = "One two. Three. four"
    assert published[text.index("T")] == "One two."
    assert [each for each in published if each] == ["One two."]  # a small letter may go on with the second
    assert trim.finish() == []


def test_what_is_published_already_is_part_of_the_text() -> None:
    trim = SentenceTrim()
    trim.prime("It was good. And")
    assert trim.push(_tokens(" so on", 2)) == []
    assert trim.finish() == []
    trim = SentenceTrim()
    trim.prime("no end so far")
    assert "".join(token.text for token in [*trim.push(_tokens(" and none", 3)), *trim.finish()]) == " and none"


def test_a_token_that_goes_beyond_the_sentence_is_cut_with_it() -> None:
    trim = SentenceTrim()
    settled = [*trim.push([SettledToken(1, "It is", None), SettledToken(2, " so. Bu", None)]), *trim.finish()]
    assert settled == [SettledToken(1, "It is", None), SettledToken(2, " so.", None)]


def test_an_end_that_more_text_can_undo_is_none_yet() -> None:
    assert last_sentence_end("It is 3.", is_complete=False) is None
    assert last_sentence_end("It is 3.", is_complete=True) == 8
    assert last_sentence_end("Yes! ", is_complete=False) is None
    assert last_sentence_end("Yes! – said he", is_complete=False) is None
    assert last_sentence_end("Yes!\n– Said he", is_complete=False) == 4
