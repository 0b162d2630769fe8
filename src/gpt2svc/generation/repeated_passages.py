"""Passages that a reply says twice in a row: they are kept once.

A passage is a run of at least four words, or of whole sentences with at least two words. Where the same words follow it
at once, whatever white space is between them, they are dropped, and so is what follows those, for as long as it is the
same again; at the reply's end also a repetition that has only begun. Words differ by case and punctuation.
"""

from dataclasses import dataclass
from typing import Final

from gpt2svc.generation.post_processing import HeldTokens
from gpt2svc.generation.settled_token import SettledToken

MIN_WORDS: Final = 4
MIN_SENTENCE_WORDS: Final = 2
MAX_WORDS: Final = 200  # of a passage
_CLOSING: Final = "\"'»”’)]}›*_`"


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    length: int  # in characters, the white space before it included


class RepeatCollapse:
    """Words that may be the beginning of a repetition are held back until it is known to be one, or not."""

    def __init__(self) -> None:
        self._tokens = HeldTokens()
        self._kept: list[str] = []
        self._waiting: list[_Word] = []  # equal to the beginning of a passage that ends with what is kept
        self._repeated = 0  # words of the passage that has just been dropped; 0 where other words came since
        self._space = ""
        self._word = ""
        self._num_published = 0  # characters of the word in progress

    def prime(self, text: str) -> None:
        words = text.split()
        if words and not text[-1].isspace():
            self._word = words.pop()
            self._num_published = len(self._word)
        self._kept = words

    def push(self, tokens: list[SettledToken]) -> list[SettledToken]:
        for token in tokens:
            self._tokens.add(token)
            for character in token.text:
                if not character.isspace():
                    self._word += character
                    continue
                if self._word:
                    self._end_word()
                self._space += character
        return self._tokens.take()

    def finish(self) -> list[SettledToken]:
        if self._is_repeating_to_the_end():
            return self._tokens.take_last()
        if self._word:
            self._end_word()
        if not self._is_repeating_to_the_end():
            while self._waiting:
                self._keep_first()
            self._tokens.decide(len(self._space), is_kept=True)
        return self._tokens.take_last()

    def _end_word(self) -> None:
        word = _Word(self._word, len(self._space) + len(self._word) - self._num_published)
        is_published = self._num_published > 0
        self._space = self._word = ""
        self._num_published = 0
        self._waiting.append(word)
        if is_published:
            self._keep_first()
        while self._waiting:
            lengths = self._passages()
            if not lengths:
                self._keep_first()
                continue
            if lengths[0] == len(self._waiting):
                self._tokens.decide(sum(each.length for each in self._waiting), is_kept=False)
                self._repeated = len(self._waiting)
                self._waiting = []
            return

    def _keep_first(self) -> None:
        word = self._waiting.pop(0)
        self._tokens.decide(word.length, is_kept=True)
        self._kept.append(word.text)
        self._repeated = 0

    def _passages(self) -> list[int]:
        """Lengths of the passages at the end of what is kept that begin with the waiting words; ascending."""
        kept, waiting = self._kept, [word.text for word in self._waiting]
        count = len(waiting)
        return [
            length
            for length in range(max(count, MIN_SENTENCE_WORDS), min(len(kept), MAX_WORDS) + 1)
            if kept[-length] == waiting[0]
            and kept[len(kept) - length :][:count] == waiting
            and (length >= MIN_WORDS or self._is_sentences(length))
        ]

    def _is_sentences(self, length: int) -> bool:
        """Whether the last so many kept words are whole sentences."""
        kept = self._kept
        return _ends_sentence(kept[-1]) and (length == len(kept) or _ends_sentence(kept[-length - 1]))

    def _is_repeating_to_the_end(self) -> bool:
        """Whether all that follows a dropped repetition is the beginning of one more."""
        if not self._repeated:
            return False
        passage = self._kept[-self._repeated :]
        count = len(self._waiting)
        is_same = [word.text for word in self._waiting] == passage[:count]
        return is_same and count < len(passage) and passage[count].startswith(self._word)


def _ends_sentence(word: str) -> bool:
    return word.rstrip(_CLOSING).endswith((".", "!", "?", "…"))
