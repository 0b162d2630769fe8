"""Token ids to text, one token at a time.

Byte-level BPE splits characters between tokens. A token's delta holds the characters that it completes; the bytes of an
unfinished one wait for the next token, and what is still unfinished at the end becomes U+FFFD, so that the deltas
together are exactly the decoded whole.
"""

import codecs

from gpt2svc.models.tokenizer import Tokenizer


class Detokenizer:
    """Of one sequence: `push` each id in order, then `finish`. It goes on from the token `after` where one is given."""

    def __init__(self, tokenizer: Tokenizer, *, after: int | None = None) -> None:
        self._tokenizer = tokenizer
        self._after = after
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    @property
    def is_mid_character(self) -> bool:
        """Whether the last token ended inside a character."""
        return bool(self._decoder.getstate()[0])

    def push(self, token_id: int) -> str:
        [own] = self._tokenizer.spell((token_id,), after=self._after)
        if own:
            self._after = token_id
        return self._decoder.decode(own)

    def finish(self) -> str:
        """The replacement character for an unfinished one, else nothing."""
        return self._decoder.decode(b"", final=True)
