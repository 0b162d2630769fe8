"""What a reply's text goes through after stop strings, as an option: nothing that was published is ever taken back.

Each stage takes settled tokens and gives them on as soon as it knows what becomes of their text. A token whose text is
dropped in the middle stays as a token without text, so that a reply can be continued from its very tokens; what is
dropped at the end is not published at all.
"""

from collections import deque
from dataclasses import dataclass
from typing import Protocol

from gpt2svc.generation.settled_token import SettledToken


@dataclass(frozen=True, slots=True)
class PostProcessing:
    """Which stages there are; see generation/repeated_passages.py and generation/sentence_end.py."""

    collapse_repeats: bool = False
    trim_to_sentence: bool = False


class Stage(Protocol):
    def prime(self, text: str) -> None:
        """The reply begins with this text, which is published already; called before anything else."""
        ...

    def push(self, tokens: list[SettledToken]) -> list[SettledToken]:
        """More of the reply's tokens; returns those that are decided now."""
        ...

    def finish(self) -> list[SettledToken]:
        """The reply has ended: the rest of its tokens."""
        ...


@dataclass(slots=True)
class _Held:
    token: SettledToken
    num_undecided: int  # characters
    kept: str = ""


class HeldTokens:
    """Tokens whose text is decided on, piece by piece from the front."""

    def __init__(self) -> None:
        self._held: deque[_Held] = deque()

    def add(self, token: SettledToken) -> None:
        self._held.append(_Held(token, len(token.text)))

    def decide(self, num_characters: int, *, is_kept: bool) -> None:
        """The next undecided characters belong to the text, or don't."""
        for held in self._held:
            count = min(num_characters, held.num_undecided)
            if is_kept:
                start = len(held.token.text) - held.num_undecided
                held.kept += held.token.text[start : start + count]
            held.num_undecided -= count
            num_characters -= count
            if not num_characters:
                return

    def take(self) -> list[SettledToken]:
        """Those from the front that are decided."""
        count = 0
        for i, held in enumerate(self._held):
            if held.num_undecided:
                break
            if held.token.text:  # one without text waits for what it is the beginning of
                count = i + 1
        return [self._pop() for _ in range(count)]

    def take_last(self) -> list[SettledToken]:
        """Those up to the last that has text; what is undecided is dropped."""
        count = max((i + 1 for i, held in enumerate(self._held) if held.kept), default=0)
        return [self._pop() for _ in range(count)]

    def _pop(self) -> SettledToken:
        held = self._held.popleft()
        return SettledToken(held.token.token_id, held.kept, held.token.logprobs)
