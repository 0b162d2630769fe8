import pytest

from gpt2svc.generation.repeated_passages import RepeatCollapse
from gpt2svc.generation.settled_token import SettledToken


def _tokens(text: str, size: int) -> list[SettledToken]:
    return [SettledToken(i, text[i : i + size], None) for i in range(0, len(text), size)]


def _collapsed(text: str, size: int = 1) -> str:
    collapse = RepeatCollapse()
    settled = [settled for token in _tokens(text, size) for settled in collapse.push([token])]
    settled += collapse.finish()
    return "".join(token.text for token in settled)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one two three four one two three four five", "one two three four five"),
        ("one two three four one two three four one two three four", "one two three four"),
        ("one two three four one two three four one tw", "one two three four"),  # begun again at the end
        ("one two three four one two", "one two three four one two"),  # begun for the first time: it is text
        ("one two three one two three", "one two three one two three"),  # too short a passage
        ("I know. I know. I know. Do you?", "I know. Do you?"),  # but for whole sentences
        ("Yes. Yes. Yes.", "Yes. Yes. Yes."),
        ("Я не знаю. Я не знаю. Я не знаю. Ти знаєш?", "Я не знаю. Ти знаєш?"),
        ("a b c d\n\na b c d\n\ne", "a b c d\n\ne"),  # whatever white space is between
        ("a b c d A b c d", "a b c d A b c d"),
        ("x a b c d a b c e", "x a b c d a b c e"),  # came to nothing: all of it is text
        ("a b c d a b c d a b x y", "a b c d a b x y"),
        ("no no no no no no no no no", "no no no no"),
        ("the cat and the dog and the cow", "the cat and the dog and the cow"),
        ("a b c d a b c d  ", "a b c d"),
        ("  a b", "  a b"),
        ("", ""),
    ],
)
def test_a_passage_that_follows_itself_is_kept_once(text: str, expected: str) -> None:
    for size in (1, 2, 5, 100):
        assert _collapsed(text, size) == expected, size


def test_only_what_may_be_a_repetition_is_held_back() -> None:
    collapse = RepeatCollapse()
    seen = ""
    held = []
    text = "one two three four five one two six seven"
    for i, token in enumerate(_tokens(text, 1), start=1):
        seen += "".join(settled.text for settled in collapse.push([token]))
        held.append(i - len(seen))
    assert max(held[: text.index(" one")]) <= len(" three")
    assert max(held) == len(" one two six")
    assert seen == text[: text.index(" seven")]


def test_tokens_of_a_dropped_passage_stay_without_text_and_those_after_the_end_do_not() -> None:
    text = "a b c d a b c d e f g h i a b"
    collapse = RepeatCollapse()
    tokens = _tokens(text, 2)
    settled = [settled for token in tokens for settled in collapse.push([token])]
    settled += collapse.finish()
    assert [token.token_id for token in settled] == [token.token_id for token in tokens]
    assert [token.text for token in settled][:8] == ["a ", "b ", "c ", "d", "", "", "", " "]
    collapse = RepeatCollapse()
    settled = [settled for token in _tokens("a b c d a b c d a b", 2) for settled in collapse.push([token])]
    settled += collapse.finish()
    assert [token.text for token in settled] == ["a ", "b ", "c ", "d", "", "", ""]


def test_a_passage_before_the_place_of_a_cut_is_known() -> None:
    collapse = RepeatCollapse()
    collapse.prime("one two three fo")
    settled = [settled for token in _tokens("ur one two three four five", 3) for settled in collapse.push([token])]
    settled += collapse.finish()
    assert "".join(token.text for token in settled) == "ur five"
