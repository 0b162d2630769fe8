"""From sampled tokens to the token events of a reply: what is published, when, and with which text.

The reply is the decoded text up to the first stop string or turn marker, without one leading space (GPT-2's tokens
carry it after "Assistant:") and without white space at its end. A token is published once its whole text is settled: it
can no longer be part of a stop string, of a marker, of trailing white space or of an unfinished character. So the
published texts together are the stored reply, whatever the reply turns out to be.

Where the text ends while a turn marker has begun, the begun part is dropped, since the next tokens would have completed
it; only before an end-of-text token is it kept, since then the model itself has said that nothing follows. A begun stop
string of the user's is kept: it is text that did not become one.

Where the text is verbatim, as that of a completion is, nothing is taken off at either end and no character is replaced.

Post-processing comes after all that, where it is asked for: repetitions first, then the last sentence's end.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from gpt2svc.engine.types import TokenLogprobs
from gpt2svc.generation.detokenizer import Detokenizer
from gpt2svc.generation.post_processing import PostProcessing, Stage
from gpt2svc.generation.repeated_passages import RepeatCollapse
from gpt2svc.generation.sentence_end import SentenceTrim
from gpt2svc.generation.settled_token import SettledToken
from gpt2svc.generation.stop_strings import StopStrings
from gpt2svc.models.tokenizer import Tokenizer


@dataclass(slots=True)
class _HeldToken:
    token_id: int
    logprobs: TokenLogprobs | None
    length: int  # of its text, in characters


class ReplyText:
    """Of one reply: `push` each sampled token until `is_stopped`, then `finish` once."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        stop_strings: StopStrings,
        *,
        is_verbatim: bool = False,
        after: int
        | None = None,  # the token before the first, for a vocabulary where that says whether a space follows
        processing: PostProcessing | None = None,
    ) -> None:
        self._stages = new_stages(processing)
        self._detokenizer = Detokenizer(tokenizer, after=after)
        self._stop_strings = stop_strings
        self._state = stop_strings.initial_state
        self._is_verbatim = is_verbatim
        self._is_at_start = not is_verbatim
        self._held: deque[_HeldToken] = deque()
        self._text = ""  # of the held tokens
        self._num_kept: int | None = None  # characters of `_text` before the stop string, once one is complete

    @classmethod
    def after(
        cls,
        tokenizer: Tokenizer,
        stop_strings: StopStrings,
        token_ids: Sequence[int],
        text: str = "",
        processing: PostProcessing | None = None,
    ) -> Self:
        """The rest of a reply whose text up to these tokens is done with: nothing in it can stop what follows."""
        reply = cls(tokenizer, stop_strings, processing=processing)
        for stage in reply._stages:
            stage.prime(text)
        for token_id in token_ids:
            reply._detokenizer.push(token_id)
        reply._state = 0
        reply._is_at_start = False
        return reply

    @property
    def is_stopped(self) -> bool:
        """A stop string or turn marker is complete: nothing more belongs to the reply."""
        return self._num_kept is not None

    def push(self, token_id: int, logprobs: TokenLogprobs | None = None) -> list[SettledToken]:
        """One more token; returns those that are settled now. After the end it changes nothing."""
        if self._num_kept is not None:
            return []
        self._held.append(_HeldToken(token_id, logprobs, 0))
        self._extend(self._detokenizer.push(token_id))
        if self.is_stopped:
            return []
        num_possible = len(self._text) - self._stop_strings.num_held[self._state]
        settled = self._take_settled(self._num_before_space(max(0, num_possible)))
        for stage in self._stages:
            settled = stage.push(settled) if settled else []
        return settled

    def finish(self, *, has_end_token: bool) -> list[SettledToken]:
        """The rest of the reply. `has_end_token`: the model ended it, not a limit, a stop string or a cancel."""
        tail = self._detokenizer.finish()
        if tail and not self.is_stopped:
            self._extend(tail)
        num_kept = self._num_kept
        if num_kept is None:
            num_begun = 0 if has_end_token else self._stop_strings.num_held_of_marker[self._state]
            num_kept = max(0, len(self._text) - num_begun)
        settled = self._take_last(self._num_before_space(num_kept))
        for stage in self._stages:
            settled = [*stage.push(settled), *stage.finish()]
        return settled

    def _num_before_space(self, num_kept: int) -> int:
        """Characters of the held text up to `num_kept`, without white space at their end unless that is kept."""
        return num_kept if self._is_verbatim else len(self._text[:num_kept].rstrip())

    def _extend(self, delta: str) -> None:
        """Add text to the last held token, up to and with a completed stop string."""
        # NOTE: no database column and no terminal wants a NUL, and a byte-level vocabulary has a token for it.
        if not self._is_verbatim:
            delta = delta.replace("\x00", "\ufffd")
        stop_strings, state = self._stop_strings, self._state
        for index, character in enumerate(delta):
            state = stop_strings.advance(state, character)
            if stop_strings.num_matched[state]:
                delta = delta[: index + 1]
                break
        self._state = state
        if self._is_at_start and delta:
            self._is_at_start = False
            delta = delta.removeprefix(" ")
        self._text += delta
        self._held[-1].length += len(delta)
        if stop_strings.num_matched[state]:
            # A marker that had begun before the stop string goes with it.
            num_dropped = max(stop_strings.num_matched[state], stop_strings.num_held_of_marker[state])
            self._num_kept = max(0, len(self._text) - num_dropped)

    def _take_settled(self, num_settled: int) -> list[SettledToken]:
        """Whole tokens from the front, as far as `num_settled` characters go."""
        settled = []
        position = 0
        while self._held and position < num_settled:
            # The last token may still get a U+FFFD for the character that it began.
            is_open = len(self._held) == 1 and self._detokenizer.is_mid_character
            token = self._held[0]
            if is_open or position + token.length > num_settled:
                break
            self._held.popleft()
            end = position + token.length
            settled.append(SettledToken(token.token_id, self._text[position:end], token.logprobs))
            position = end
        self._text = self._text[position:]
        return settled

    def _take_last(self, num_kept: int) -> list[SettledToken]:
        """Every token that begins within the kept text, its text cut where that ends."""
        settled = []
        position = 0
        for token in self._held:
            if position >= num_kept:
                break
            end = min(position + token.length, num_kept)
            settled.append(SettledToken(token.token_id, self._text[position:end], token.logprobs))
            position += token.length
        self._held.clear()
        self._text = ""
        return settled


def new_stages(processing: PostProcessing | None) -> list[Stage]:
    """In the order in which a reply's tokens go through them."""
    stages: list[Stage] = []
    if processing is not None and processing.collapse_repeats:
        stages.append(RepeatCollapse())
    if processing is not None and processing.trim_to_sentence:
        stages.append(SentenceTrim())
    return stages
