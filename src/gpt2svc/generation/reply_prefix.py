"""The beginning of a reply that is continued: its text, and the tokens that the model reads for it."""

import codecs
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gpt2svc.models.tokenizer import Tokenizer
from gpt2svc.persistence.records import TokenRecord


@dataclass(frozen=True, slots=True)
class ReplyPrefix:
    """`tokens` have the numbers 1 - n … 0, so that the new ones begin with 1; their texts, joined, are the text."""

    tokens: tuple[TokenRecord, ...]
    is_as_sampled: bool  # the very tokens of the reply, not those of its text

    @property
    def text(self) -> str:
        return "".join(token.text for token in self.tokens)

    @property
    def token_ids(self) -> tuple[int, ...]:
        return tuple(token.token_id for token in self.tokens)


def prefix_of_tokens(
    content: str, kept: Sequence[TokenRecord], tokenizer: Tokenizer, *, may_be_cut: bool
) -> ReplyPrefix | None:
    """The kept tokens of a reply with this text; None where they don't spell it out.

    The last kept token may go on where the text ends: in white space, or, with `may_be_cut`, in whatever was taken off
    there. A character that was not complete is no part of the prefix: its tokens are, and the next ones complete it.
    """
    if not kept or "".join(token.text for token in kept) != content:
        return None
    tokens = list(kept)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    spelled = decoder.decode(b"".join(tokenizer.token_bytes(token.token_id) for token in tokens))
    is_mid_character = bool(decoder.getstate()[0])
    if is_mid_character and tokens[-1].text.endswith("\ufffd"):
        tokens[-1] = replace(tokens[-1], text=tokens[-1].text[:-1])
        content = content[:-1]
    spelled = spelled.replace("\x00", "\ufffd").removeprefix(" ")
    rest = spelled[len(content) :]
    if not spelled.startswith(content) or (rest.strip() and not may_be_cut):
        return None
    return ReplyPrefix(_numbered(tokens), is_as_sampled=True)


def prefix_of_text(content: str, tokenizer: Tokenizer) -> ReplyPrefix:
    """For a text that no kept tokens spell out: written by hand, imported, or by another model."""
    # GPT-2's tokens carry the space after "Assistant:".
    tokens = [TokenRecord(0, token_id, "") for token_id in tokenizer.encode(f" {content}")]
    tokens[0] = replace(tokens[0], text=content)
    return ReplyPrefix(_numbered(tokens), is_as_sampled=False)


def _numbered(tokens: Sequence[TokenRecord]) -> tuple[TokenRecord, ...]:
    return tuple(replace(token, seq=seq) for seq, token in enumerate(tokens, start=1 - len(tokens)))
