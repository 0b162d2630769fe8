from typing import Any

import pytest

from gpt2svc.errors import InvalidInputError
from gpt2svc.persistence.stored_text import check_json, check_text, fold


@pytest.mark.parametrize("text", ["", "Привіт, світе! 👋🏽", "\u2028\x85\x01", "😀", None])
def test_text_of_any_language_may_be_stored(text: str | None) -> None:
    check_text("content", text)


@pytest.mark.parametrize("text", ["a\x00b", "\ud83d", "x\udc00"])
def test_nul_and_lone_surrogates_are_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidInputError, match="content") as caught:
        check_text("content", text)
    assert caught.value.field == "content"
    caught.value.message.encode()  # the message itself can be sent


@pytest.mark.parametrize("value", [{"stop": ["\x00"]}, {"\ud800": 1}, [{"a": ("x", "\udfff")}]])
def test_json_is_checked_to_its_depth(value: Any) -> None:
    with pytest.raises(InvalidInputError):
        check_json("settings", value)


def test_json_of_other_kinds_passes() -> None:
    check_json("settings", {"a": 1, "b": None, "c": [1.5, True, "їжак"], "d": {}})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ЇЖАЧОК", "їжачок"),
        ("Ґедзь Є", "ґедзь є"),
        ("Ki\u0306ів", "KĬІВ"),
        ("и\u0306", "Й"),  # й typed as two code points, as some keyboards and file systems give it
        ("Straße", "STRASSE"),
    ],
)
def test_texts_that_differ_in_case_or_composition_fold_alike(one: str, other: str) -> None:
    assert fold(one) == fold(other)


def test_different_letters_stay_different() -> None:
    assert fold("ґ") != fold("г")
    assert fold("і") != fold("i")  # Ukrainian and Latin
