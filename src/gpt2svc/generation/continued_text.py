"""The text of a reply that is continued: what comes after its beginning."""

from gpt2svc.engine.types import TokenLogprobs
from gpt2svc.generation.reply_prefix import ReplyPrefix
from gpt2svc.generation.reply_text import ReplyText, SettledToken
from gpt2svc.generation.stop_strings import StopStrings
from gpt2svc.models.tokenizer import Tokenizer


class ContinuedText:
    """Used as ReplyText is. The prefix's text and the settled ones together are the reply.

    The prefix's own tokens are read again, so that a stop string, a marker or a character which the cut went through is
    found: the reply is then the one that it would have been without the cut.
    """

    def __init__(self, tokenizer: Tokenizer, stop_strings: StopStrings, prefix: ReplyPrefix) -> None:
        self._num_prefix_tokens = len(prefix.tokens)  # not settled yet
        self._num_known = len(prefix.text)  # characters at the front of what is not settled yet
        self._reply = ReplyText(tokenizer, stop_strings)
        if prefix.is_as_sampled:
            for token_id in prefix.token_ids:
                self._unknown(self._reply.push(token_id))
        if not prefix.is_as_sampled or self._reply.is_stopped:
            # What stands in the beginning already, a new stop string say, must not end what follows it.
            self._reply = ReplyText.after(tokenizer, stop_strings, prefix.token_ids)
            self._num_prefix_tokens = self._num_known = 0

    @property
    def is_stopped(self) -> bool:
        return self._reply.is_stopped

    def push(self, token_id: int, logprobs: TokenLogprobs | None = None) -> list[SettledToken]:
        return self._unknown(self._reply.push(token_id, logprobs))

    def finish(self, *, has_end_token: bool) -> list[SettledToken]:
        return self._unknown(self._reply.finish(has_end_token=has_end_token))

    def _unknown(self, settled: list[SettledToken]) -> list[SettledToken]:
        """Of settled tokens those that bring something new: any new token, and one of the prefix whose text goes on."""
        unknown = []
        for token in settled:
            num_known = min(len(token.text), self._num_known)
            self._num_known -= num_known
            is_new = self._num_prefix_tokens == 0
            self._num_prefix_tokens -= not is_new
            if is_new or num_known < len(token.text):
                unknown.append(SettledToken(token.token_id, token.text[num_known:], token.logprobs))
        return unknown
