"""Where a reply's last full sentence ends, in Ukrainian and English.

A sentence ends after `.`, `!`, `?` or `…`, any run of them, with the quotes and brackets that close after it and the
emoji that follow it on the line. White space comes next, or the end of the text; and then no lower-case letter, not
even behind a dash on the same line: “Really?” she asked; «Так!» – сказав він. A single full stop ends none after an
initial (Т. Шевченко), an abbreviation (вул., Mr.) or a number that begins a line (1.).
"""

import re
from typing import Final

from gpt2svc.generation.post_processing import HeldTokens
from gpt2svc.generation.settled_token import SettledToken

_EMOJI: Final = "\u200d\u20e3\u2300-\u23ff\u2600-\u27bf\u2b00-\u2bff\ufe0f\U0001f000-\U0001faff\U000e0020-\U000e007f"
_CANDIDATE: Final = re.compile(rf"""([.!?…]+)["'»”’“)\]}}›*_`]*(?:[^\S\n]*[{_EMOJI}]+)*""")
_SPACE: Final = re.compile(r"\s*")
_DASH: Final = re.compile(r"[-–—]+\s*")
_WORD: Final = re.compile(r"[\w.’'ʼ]+\Z")
_LIST_NUMBER: Final = re.compile(r"(?:^|\n)[^\S\n]*\d+\Z")
_ABBREVIATIONS: Final = frozenset(
    {"mr", "mrs", "ms", "dr", "prof", "st", "vs", "cf", "fig"}
    | {"вул", "просп", "пл", "див", "напр", "ім", "проф", "акад", "доц", "гр", "св", "тов", "пор"}
    | {"м", "с", "п", "т", "о"}
)
_WHOLE_WORDS: Final = frozenset("IЯ")  # single capitals that are no initials


def last_sentence_end(text: str, start: int = 0, *, is_complete: bool) -> int | None:
    """The end of the last full sentence that ends after `start`: an index of `text`, or None.

    Unless the text `is_complete`, only such an end counts as no further text can undo.
    """
    end = None
    for found in _CANDIDATE.finditer(text, start):
        if found[1] == "." and _is_no_end(text[max(0, found.start() - 40) : found.start()]):
            continue
        after = _next_place(text, found.end())
        if after is None:
            if is_complete:
                end = found.end()
        elif after > found.end() and not text[after].islower():
            end = found.end()
    return end


def _next_place(text: str, end: int) -> int | None:
    """Where something comes after white space, and perhaps a dash on the same line; None where nothing does yet."""
    place = _space_end(text, end)
    if "\n" not in text[end:place]:
        dash = _DASH.match(text, place)
        place = dash.end() if dash is not None and place > end else place
    return place if place < len(text) else None


def _space_end(text: str, start: int) -> int:
    found = _SPACE.match(text, start)
    return found.end() if found is not None else start


def _is_no_end(before: str) -> bool:
    """Whether a full stop after this marks something shortened or counted."""
    found = _WORD.search(before)
    if found is None:
        return False
    word = found[0]
    if "." in word and all(len(part) == 1 for part in word.split(".")):
        return True  # e.g., U.S., т.д.
    if len(word) == 1 and word.isupper() and word not in _WHOLE_WORDS:
        return True
    return word.lower() in _ABBREVIATIONS or _LIST_NUMBER.search(before) is not None


class SentenceTrim:
    """Cuts a reply after its last full sentence; one without any stays as it is.

    What comes after a sentence is held back until the next one has ended.
    """

    def __init__(self) -> None:
        self._tokens = HeldTokens()
        self._text = ""  # of the whole reply
        self._num_decided = 0

    def prime(self, text: str) -> None:
        self._text = text
        self._num_decided = len(text)

    def push(self, tokens: list[SettledToken]) -> list[SettledToken]:
        for token in tokens:
            self._tokens.add(token)
            self._text += token.text
        end = last_sentence_end(self._text, self._num_decided, is_complete=False)
        if end is None:
            return []
        self._decide(end)
        return self._tokens.take()

    def finish(self) -> list[SettledToken]:
        end = last_sentence_end(self._text, is_complete=True)
        self._decide(len(self._text) if end is None else max(end, self._num_decided))
        return self._tokens.take_last()

    def _decide(self, end: int) -> None:
        self._tokens.decide(end - self._num_decided, is_kept=True)
        self._num_decided = end
