"""How a token is written where it stands alone, in lists of log-probabilities."""

from gpt2svc.models.tokenizer import Tokenizer


def token_text(tokenizer: Tokenizer, token_id: int) -> str:
    """Its text; `bytes:\\\\xe2\\\\x80` where it is a part of a character; a special token's spelling.

    Different tokens have different texts, so that a mapping by text loses none.
    """
    raw = tokenizer.token_bytes(token_id)
    if not raw:
        spelling = next((name for name, known in tokenizer.special_tokens.items() if known == token_id), None)
        return spelling if spelling is not None else f"<|{token_id}|>"
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)
