"""The beginning of a reply that is continued: its text, and the tokens that the model reads for it."""

import codecs
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gpt2svc.generation.reply_text import ReplyText
from gpt2svc.generation.stop_strings import StopStrings
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
    content: str,
    kept: Sequence[TokenRecord],
    tokenizer: Tokenizer,
    stop_strings: StopStrings,
    *,
    was_cut: bool,
) -> ReplyPrefix | None:
    """The kept tokens of a reply with this text; None where they don't spell it out.

    Of a reply that `was_cut`, a character, stop string or turn marker that had begun at the end is not yet text of the
    prefix: its tokens are there, and the next ones say what it becomes. Of one that had come to its own end, the last
    token may go on where the text ends only in white space.
    """
    if not kept or "".join(token.text for token in kept) != content:
        return None
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    spelled = decoder.decode(b"".join(tokenizer.spell(token.token_id for token in kept)))
    if decoder.getstate()[0] and content.endswith("\ufffd"):
        content = content[:-1]
    spelled = spelled.replace("\x00", "\ufffd").removeprefix(" ")
    rest = spelled[len(content) :]
    if not spelled.startswith(content) or (rest.strip() and not was_cut):
        return None
    if was_cut:
        reply = ReplyText(tokenizer, stop_strings)
        num_settled = sum(len(settled.text) for token in kept for settled in reply.push(token.token_id))
        if not reply.is_stopped:
            content = content[:num_settled]
    return ReplyPrefix(_numbered(_with_text(kept, content)), is_as_sampled=True)


def prefix_of_ids(token_ids: Sequence[int], tokenizer: Tokenizer, stop_strings: StopStrings) -> ReplyPrefix | None:
    """These very tokens, with as much text as they settle; None where a stop string or the next turn is among them."""
    reply = ReplyText(tokenizer, stop_strings)
    texts = [settled.text for token_id in token_ids for settled in reply.push(token_id)]
    if reply.is_stopped:
        return None
    texts += [""] * (len(token_ids) - len(texts))
    tokens = [TokenRecord(0, token_id, text) for token_id, text in zip(token_ids, texts, strict=True)]
    return ReplyPrefix(_numbered(tokens), is_as_sampled=True)


def prefix_of_text(content: str, tokenizer: Tokenizer) -> ReplyPrefix:
    """For a text that no kept tokens spell out: written by hand, imported, or by another model."""
    # GPT-2's tokens carry the space after "Assistant:".
    tokens = [TokenRecord(0, token_id, "") for token_id in tokenizer.encode(f" {content}")]
    tokens[0] = replace(tokens[0], text=content)
    return ReplyPrefix(_numbered(tokens), is_as_sampled=False)


def _with_text(tokens: Sequence[TokenRecord], content: str) -> list[TokenRecord]:
    """The tokens with their texts cut where `content` ends."""
    cut = []
    for token in tokens:
        text, content = content[: len(token.text)], content[len(token.text) :]
        cut.append(replace(token, text=text))
    return cut


def _numbered(tokens: Sequence[TokenRecord]) -> tuple[TokenRecord, ...]:
    return tuple(replace(token, seq=seq) for seq, token in enumerate(tokens, start=1 - len(tokens)))
