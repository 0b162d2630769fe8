"""The beginning of a reply that is continued: its text, and the tokens that the model reads for it."""

import codecs
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gpt2svc.generation.post_processing import PostProcessing
from gpt2svc.generation.reply_text import ReplyText
from gpt2svc.generation.sentence_end import last_sentence_end
from gpt2svc.generation.stop_strings import StopStrings
from gpt2svc.models.tokenizer import Tokenizer
from gpt2svc.persistence.records import TokenRecord

_NONE = PostProcessing()


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
    processing: PostProcessing = _NONE,
) -> ReplyPrefix | None:
    """The kept tokens of a reply with this text; None where they don't spell it out.

    Of a reply that `was_cut`, a character, stop string or turn marker that had begun at the end is not yet text of the
    prefix: its tokens are there, and the next ones say what it becomes. Of one that had come to its own end, the last
    token may go on where the text ends only in white space. Of one whose repeated passages were dropped by `processing`
    the tokens of these are there too, without text.
    """
    if not kept or "".join(token.text for token in kept) != content:
        return None
    if processing.collapse_repeats:
        return _prefix_of_collapsed(content, kept, tokenizer, stop_strings, was_cut=was_cut, processing=processing)
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
        content = _certain(content, processing)
    return ReplyPrefix(_numbered(_with_text(kept, content)), is_as_sampled=True)


def prefix_of_ids(
    token_ids: Sequence[int], tokenizer: Tokenizer, stop_strings: StopStrings, processing: PostProcessing = _NONE
) -> ReplyPrefix | None:
    """These very tokens, with as much text as they settle; None where a stop string or the next turn is among them."""
    reply = ReplyText(tokenizer, stop_strings, processing=replace(processing, trim_to_sentence=False))
    texts = [settled.text for token_id in token_ids for settled in reply.push(token_id)]
    if reply.is_stopped:
        return None
    texts += [""] * (len(token_ids) - len(texts))
    tokens = [TokenRecord(0, token_id, text) for token_id, text in zip(token_ids, texts, strict=True)]
    return ReplyPrefix(_numbered(_with_text(tokens, _certain("".join(texts), processing))), is_as_sampled=True)


def _prefix_of_collapsed(
    content: str,
    kept: Sequence[TokenRecord],
    tokenizer: Tokenizer,
    stop_strings: StopStrings,
    *,
    was_cut: bool,
    processing: PostProcessing,
) -> ReplyPrefix | None:
    """What the tokens settle has to be the text, up to where it may be the beginning of a word or a repetition."""
    prefix = prefix_of_ids([token.token_id for token in kept], tokenizer, stop_strings, processing)
    if prefix is None or not content.startswith(prefix.text):
        return None
    return prefix if was_cut else ReplyPrefix(_numbered(kept), is_as_sampled=True)


def _certain(content: str, processing: PostProcessing) -> str:
    """Without a last sentence whose end what follows may still undo: “It is 3.”."""
    if not processing.trim_to_sentence or last_sentence_end(content, is_complete=True) is None:
        return content
    return content[: last_sentence_end(content, is_complete=False) or 0]


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
