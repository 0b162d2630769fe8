"""Guesses at a sequence's next tokens: what followed the last time that its text ended like this. Torch-free."""

from collections.abc import Sequence
from typing import Final, NamedTuple

# Runs of tokens that are looked for, longest first: a longer one is the better sign that the text repeats itself.
RUN_LENGTHS: Final = (3, 2)


class Guess(NamedTuple):
    run_length: int  # of the run of tokens that was found again
    token_ids: tuple[int, ...]  # what may follow


class PromptLookup:
    """An index of the places of all runs of tokens in one sequence (prompt look-up decoding, Saxena 2023).

    It grows with the sequence: a step indexes its new tokens and looks one or two keys up, however long the text is.
    """

    def __init__(self, token_ids: Sequence[int]) -> None:
        """`token_ids` is the sequence's own list, which may go on growing elsewhere but never shrinks."""
        self._token_ids = token_ids
        self._num_indexed = 1  # tokens whose run before them is in the index
        # By run length: the place after the latest occurrence of each run of so many tokens.
        self._places: tuple[dict[tuple[int, ...], int], ...] = tuple({} for _ in RUN_LENGTHS)

    def guess(self, count: int) -> Guess | None:
        """The `count` tokens that may follow, or None where the end of the sequence stands nowhere else in it.

        Where the earlier text ends before `count` tokens, it is read on in the guess itself: as a cycle.
        """
        self._index()
        token_ids = self._token_ids
        length = len(token_ids)
        for run_length, places in zip(RUN_LENGTHS, self._places, strict=True):
            place = places.get(tuple(token_ids[length - run_length :])) if length > run_length else None
            if place is not None:
                known = token_ids[place : place + count]
                period = length - place
                return Guess(run_length, tuple(known[i % period] for i in range(count)))
        return None

    def _index(self) -> None:
        token_ids = self._token_ids
        for end in range(self._num_indexed, len(token_ids)):
            for run_length, places in zip(RUN_LENGTHS, self._places, strict=True):
                if end >= run_length:
                    places[tuple(token_ids[end - run_length : end])] = end
        self._num_indexed = len(token_ids)
