"""Which sequences speculate in a step: draft tokens from the sequence's own text, computed along to be verified.

A draft costs rows of the step and brings tokens where it is right. What a step costs is about fixed + rows * cost of a
row, so that with `rows` in it already a further row pays where its token is right with a probability of more than
rows / (rows + FREE_ROWS). Alone that is nearly always, in a full batch only for text that copies itself. Torch-free.
"""

from collections.abc import Sequence as Many
from typing import Final

from gpt2svc.engine.prompt_lookup import RUN_LENGTHS, Guess, PromptLookup
from gpt2svc.engine.scheduler import Scheduled
from gpt2svc.engine.sequence import Sequence

# With the row before it a draft makes up the four rows that the matrix products are used with at least: alone, a
# sequence verifies it for little more than the price of one row.
DRAFT_LENGTH: Final = 3

# So many rows cost as much again as the fixed part of a step. With GPT-2 124M on a CPU they are 12 to 15, measured; but
# steps that differ in their rows cost something as well, in a small model more than the rows do.
FREE_ROWS: Final = 8

# Steps so full that even a text which copies itself is not worth the trouble.
MAX_ROWS: Final = 6 * FREE_ROWS

_FIRST_ESTIMATE: Final = 0.25
_WEIGHT: Final = 0.2  # of the latest guess in the estimate


class Speculation:
    """Learns for each sequence how good its guesses are, those that were only made in thought included."""

    def __init__(self, max_rows: int) -> None:
        """A step has at most `max_rows` rows, those of drafts included."""
        self._max_rows = max_rows
        self._texts: dict[Sequence, _Text] = {}

    def add_drafts(self, scheduled: Many[Scheduled]) -> list[Scheduled]:
        """The rows of a step, with drafts where they are likely to pay."""
        num_rows = sum(item.num_tokens for item in scheduled)
        if num_rows > MAX_ROWS:
            return list(scheduled)
        threshold = num_rows / (num_rows + FREE_ROWS)
        num_left = max(0, self._max_rows - num_rows)
        extended = []
        for item in scheduled:
            sequence = item.sequence
            # Beams choose together, so what one of them takes next is no matter of its own text.
            is_alone = not sequence.is_only_scored and not sequence.request.params.is_beam_search
            if item.num_tokens == 1 and item.is_sampled and is_alone:
                text = self._texts.get(sequence)
                if text is None:
                    self._texts[sequence] = text = _Text(sequence)
                draft = text.draft(threshold, num_left)
                num_left -= len(draft)
                extended.append(item._replace(draft=draft) if draft else item)
            else:
                extended.append(item)
        return extended

    def forget(self, sequence: Sequence) -> None:
        """The sequence has ended."""
        self._texts.pop(sequence, None)


class _Text:
    """What is known of one sequence."""

    def __init__(self, sequence: Sequence) -> None:
        self._sequence = sequence
        self._lookup = PromptLookup(sequence.token_ids)
        self._estimates = dict.fromkeys(RUN_LENGTHS, _FIRST_ESTIMATE)  # part of a guess that proves right
        self._guess: Guess | None = None  # the last one, until it has been compared with what followed
        self._guessed_at = 0

    def draft(self, threshold: float, max_tokens: int) -> tuple[int, ...]:
        """Tokens to verify in this step; none where fewer than `threshold` of them are likely to be right."""
        self._compare()
        if self._guess is not None and max(self._estimates.values()) < threshold:
            return ()
        guess = self._lookup.guess(DRAFT_LENGTH)
        if guess is None:
            return ()
        sequence = self._sequence
        if self._guess is None:
            self._guess, self._guessed_at = guess, len(sequence.token_ids)
        if self._estimates[guess.run_length] < threshold:
            return ()
        # The step brings one token more than those of the draft.
        num_wanted = sequence.request.params.max_new_tokens - sequence.num_new_tokens - 1
        return guess.token_ids[: max(0, min(num_wanted, max_tokens))]

    def _compare(self) -> None:
        """Learn from the last guess, as soon as one of its tokens was wrong or all were right."""
        if self._guess is None:
            return
        actual = self._sequence.token_ids[self._guessed_at : self._guessed_at + DRAFT_LENGTH]
        num_right = 0
        while num_right < len(actual) and actual[num_right] == self._guess.token_ids[num_right]:
            num_right += 1
        if num_right == len(actual) < DRAFT_LENGTH:
            return
        run_length = self._guess.run_length
        self._estimates[run_length] += _WEIGHT * (num_right / DRAFT_LENGTH - self._estimates[run_length])
        self._guess = None
