"""The text of a bare continuation, as `gpt2svc generate` prints it: every character that the model wrote."""

from gpt2svc.engine.types import TokenLogprobs
from gpt2svc.generation.detokenizer import Detokenizer
from gpt2svc.generation.post_processing import PostProcessing
from gpt2svc.generation.reply_text import new_stages
from gpt2svc.generation.settled_token import SettledToken
from gpt2svc.generation.stop_strings import StopStrings
from gpt2svc.models.tokenizer import Tokenizer


class CompletionText:
    """Used as ReplyText is, but white space stays as it is and no turn label ends it: a prompt is no dialogue here.

    A token comes out with the text that it completed, which may be empty, as soon as that can no longer become part of
    a stop string.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        stop_strings: StopStrings,
        *,
        after: int | None = None,
        processing: PostProcessing | None = None,
    ) -> None:
        self._detokenizer = Detokenizer(tokenizer, after=after)
        self._stop_strings = stop_strings
        self._state = stop_strings.initial_state
        self._held: list[SettledToken] = []
        self.is_stopped = False
        self._stages = new_stages(processing)

    def push(self, token_id: int, logprobs: TokenLogprobs | None = None) -> list[SettledToken]:
        """One more token; returns those that are settled now."""
        if self.is_stopped:
            return []
        self._append(self._detokenizer.push(token_id), token_id, logprobs)
        settled = [] if self.is_stopped else self._take(self._stop_strings.num_held[self._state])
        for stage in self._stages:
            settled = stage.push(settled)
        return settled

    def finish(self, *, has_end_token: bool = False) -> list[SettledToken]:
        """The rest: what a stop string begun but not completed had held back."""
        tail = self._detokenizer.finish()
        if tail and self._held and not self.is_stopped:
            last = self._held.pop()
            self._append(last.text + tail, last.token_id, last.logprobs)
        settled, self._held = self._held, []
        for stage in self._stages:
            settled = [*stage.push(settled), *stage.finish()]
        return settled

    def _append(self, text: str, token_id: int, logprobs: TokenLogprobs | None) -> None:
        for index, character in enumerate(text):
            self._state = self._stop_strings.advance(self._state, character)
            num_matched = self._stop_strings.num_matched[self._state]
            if num_matched:
                self.is_stopped = True
                self._held.append(SettledToken(token_id, text[: index + 1], logprobs))
                self._drop_last(num_matched)
                return
        self._held.append(SettledToken(token_id, text, logprobs))

    def _drop_last(self, num_characters: int) -> None:
        """Take a stop string back: the tokens of its text alone go, the one in which it began is cut."""
        while num_characters:
            last = self._held.pop()
            if len(last.text) > num_characters:
                kept = last.text[: len(last.text) - num_characters]
                self._held.append(SettledToken(last.token_id, kept, last.logprobs))
                return
            num_characters -= len(last.text)

    def _take(self, num_held: int) -> list[SettledToken]:
        """Tokens from the front whose text ends before the last `num_held` characters."""
        num_free = sum(len(token.text) for token in self._held) - num_held
        count = 0
        # NOTE: a token inside a character waits for the next, since its text may yet become U+FFFD at the end.
        num_ready = len(self._held) - self._detokenizer.is_mid_character
        while count < num_ready and len(self._held[count].text) <= num_free:
            num_free -= len(self._held[count].text)
            count += 1
        settled, self._held = self._held[:count], self._held[count:]
        return settled
