"""Finding where a reply ends: the user's stop strings and the marker of the next turn, in one pass over the text.

An Aho-Corasick automaton: one step a character however many strings there are and whatever they look like. Its state
after some text is the longest end of that text which could still become one of the strings, which is exactly what a
stream has to hold back.
"""

from collections import deque
from collections.abc import Sequence

from gpt2svc.models.gpt1_tokenization import Tokenization

# NOTE: stands for the reply's beginning, where a turn label needs no line break before it. A lone surrogate never comes
# out of a UTF-8 decoder, so no text can imitate it.
START = "\ud800"


class StopStrings:
    """The compiled strings of one reply. A state is a small integer; `initial_state` is that of an empty reply.

    Turn labels ("User:") end the reply where a line, or the reply itself after at most one space, begins with them.
    Those of GPT-1's tokenizations are in its spelling ("user :"), and where that has no line breaks, begin at any word.
    """

    def __init__(
        self, stop: Sequence[str], turn_labels: Sequence[str], tokenization: Tokenization = "byte-level"
    ) -> None:
        markers = _markers(turn_labels, tokenization)
        self._children: list[dict[str, int]] = [{}]
        self._fallback = [0]  # the longest proper end of this state's string that is a state too
        self.num_held = [0]  # by state: characters at the end of the text that may become a stop string
        self.num_held_of_marker = [0]  # by state: … that may become a turn marker
        self.num_matched = [0]  # by state: characters of the longest string that ends here; 0: none does
        for pattern in markers:
            self._add(pattern, is_marker=True)
        for pattern in stop:
            self._add(pattern, is_marker=False)
        self._link()
        self.initial_state = self.advance(0, START)

    def advance(self, state: int, character: str) -> int:
        """The state after one more character."""
        children = self._children
        while state and character not in children[state]:
            state = self._fallback[state]
        return children[state].get(character, 0)

    def _add(self, pattern: str, *, is_marker: bool) -> None:
        state = 0
        for depth, character in enumerate(pattern, start=1):
            if character not in self._children[state]:
                self._children[state][character] = len(self._children)
                self._children.append({})
                self._fallback.append(0)
                self.num_held.append(depth)
                self.num_held_of_marker.append(0)
                self.num_matched.append(0)
            state = self._children[state][character]
            if is_marker:
                self.num_held_of_marker[state] = depth
        self.num_matched[state] = len(pattern)

    def _link(self) -> None:
        """Breadth first, so that a state's fallback, which is shorter, is finished before it."""
        waiting = deque(self._children[0].values())
        while waiting:
            parent = waiting.popleft()
            fallback = self._fallback[parent]
            self.num_held_of_marker[parent] = self.num_held_of_marker[parent] or self.num_held_of_marker[fallback]
            self.num_matched[parent] = self.num_matched[parent] or self.num_matched[fallback]
            for character, child in self._children[parent].items():
                self._fallback[child] = self.advance(fallback, character)
                waiting.append(child)


def _markers(turn_labels: Sequence[str], tokenization: Tokenization) -> list[str]:
    befores = {
        "byte-level": ("\n", START, START + " "),
        "original": ("\n ", START, START + " "),
        "standard": (" ", START),
    }[tokenization]
    if tokenization != "byte-level":
        turn_labels = [label.lower().replace(":", " :") for label in turn_labels]
    return [before + label for label in turn_labels for before in befores]
