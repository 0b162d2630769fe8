"""A conversation's title, from its first message."""

import unicodedata

MAX_TITLE_LENGTH = 60  # characters, the ellipsis included
MIN_WORD_CUT = 20  # a cut at a word may not leave fewer characters than this

_ELLIPSIS = "…"
_ZERO_WIDTH_JOINER = "\u200d"


def title_from_message(content: str) -> str | None:
    """The first line that shows something, cut between words (else between graphemes) to MAX_TITLE_LENGTH.

    None where nothing would be visible.
    """
    for line in content.splitlines():
        title = " ".join("".join(c if _is_visible_in_line(c) else " " for c in line).split())
        if title:
            return _cut(title)
    return None


def _cut(title: str) -> str:
    if len(title) <= MAX_TITLE_LENGTH:
        return title
    end = MAX_TITLE_LENGTH - len(_ELLIPSIS)
    word_end = title.rfind(" ", 0, end + 1)
    if word_end >= MIN_WORD_CUT:
        end = word_end
    else:
        while end > 1 and _continues_grapheme(title[end - 1], title[end]):
            end -= 1
    return title[:end].rstrip(" ,.;:–—-") + _ELLIPSIS


def _is_visible_in_line(character: str) -> bool:
    """Not a control character, nor one that turns the direction of text around it."""
    if character == _ZERO_WIDTH_JOINER:
        return True
    category = unicodedata.category(character)
    is_bidi_control = category == "Cf" and unicodedata.bidirectional(character) not in ("BN", "AL", "AN", "ON")
    return category not in ("Cc", "Cs", "Zl", "Zp") and not is_bidi_control


def _continues_grapheme(before: str, character: str) -> bool:
    """Whether a cut between the two would split what people see as one character.

    Combining marks, variation selectors, emoji joined or coloured, and flags (which may then be cut one flag early).
    """
    return (
        unicodedata.category(character) in ("Mn", "Me", "Mc")
        or _ZERO_WIDTH_JOINER in (before, character)
        or "\U0001f3fb" <= character <= "\U0001f3ff"
        or ("\U0001f1e6" <= character <= "\U0001f1ff" and "\U0001f1e6" <= before <= "\U0001f1ff")
    )
