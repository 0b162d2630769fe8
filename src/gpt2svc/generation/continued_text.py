"""The text of a reply that is continued: what comes after its beginning."""

from gpt2svc.engine.types import TokenLogprobs
from gpt2svc.generation.post_processing import PostProcessing
from gpt2svc.generation.reply_prefix import ReplyPrefix
from gpt2svc.generation.reply_text import ReplyText
from gpt2svc.generation.settled_token import SettledToken
from gpt2svc.generation.stop_strings import StopStrings
from gpt2svc.models.tokenizer import Tokenizer


class ContinuedText:
    """Used as ReplyText is. The prefix's text and the settled ones together are the reply.

    The prefix's own tokens are read again, so that a stop string, a marker or a character which the cut went through is
    found: the reply is then the one that it would have been without the cut.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        stop_strings: StopStrings,
        prefix: ReplyPrefix,
        processing: PostProcessing | None = None,
    ) -> None:
        self._num_prefix_tokens = len(prefix.tokens)  # not settled yet
        self._num_known = len(prefix.text)  # characters at the front of what is not settled yet
        self._carried = ""  # text of the prefix's tokens that is new: it comes with the next token
        self._last_token_id = prefix.token_ids[0]  # of those that are settled
        self._reply = ReplyText(tokenizer, stop_strings, processing=processing)
        if prefix.is_as_sampled:
            for token_id in prefix.token_ids:
                self._unknown(self._reply.push(token_id))
        if not prefix.is_as_sampled or self._reply.is_stopped:
            # What stands in the beginning already, a new stop string say, must not end what follows it.
            self._reply = ReplyText.after(tokenizer, stop_strings, prefix.token_ids, prefix.text, processing)
            self._num_prefix_tokens = self._num_known = 0

    @property
    def is_stopped(self) -> bool:
        return self._reply.is_stopped

    def push(self, token_id: int, logprobs: TokenLogprobs | None = None) -> list[SettledToken]:
        return self._unknown(self._reply.push(token_id, logprobs))

    def finish(self, *, has_end_token: bool) -> list[SettledToken]:
        settled = self._reply.finish(has_end_token=has_end_token)
        new = self._unknown(settled)
        if self._carried:  # no token followed that could bring it
            new.append(SettledToken(self._last_token_id, self._carried, None))
            self._carried = ""
        return new

    def _unknown(self, settled: list[SettledToken]) -> list[SettledToken]:
        """The new ones of settled tokens, with all text that is new."""
        new = []
        for token in settled:
            num_known = min(len(token.text), self._num_known)
            self._num_known -= num_known
            self._carried += token.text[num_known:]
            self._last_token_id = token.token_id
            if self._num_prefix_tokens:
                self._num_prefix_tokens -= 1
            else:
                new.append(SettledToken(token.token_id, self._carried, token.logprobs))
                self._carried = ""
        return new


AnyReplyText = ReplyText | ContinuedText
