"""A prompt as text again, token by token."""

import codecs
from collections.abc import Sequence

from gpt2svc.models.tokenizer import Tokenizer


def echoed_texts(tokenizer: Tokenizer, token_ids: Sequence[int]) -> list[str]:
    """Each token's share of the prompt's text; special tokens are spelled out, as who writes a prompt spells them.

    A character that several tokens make up is the last one's.
    """
    spellings = {token_id: spelling for spelling, token_id in tokenizer.special_tokens.items()}
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    texts = [
        decoder.decode(own or spellings.get(token_id, "").encode())
        for token_id, own in zip(token_ids, tokenizer.spell(token_ids), strict=True)
    ]
    if texts:
        texts[-1] += decoder.decode(b"", final=True)
    return texts
