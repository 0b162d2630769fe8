"""The bundled model, and sampling settings that make it do what a test needs."""

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from gpt2svc.generation.setting_values import MAX_LOGIT_BIAS
from gpt2svc.models.tokenizer import Tokenizer

STARTER = Path(str(files("gpt2svc"))) / "starter"


@cache
def starter_tokenizer() -> Tokenizer:
    return Tokenizer.from_folder(STARTER)


def endless(num_tokens: int = 800) -> dict[str, Any]:
    """A reply of just so many tokens: neither an end-of-text token nor the next turn's line can end it sooner."""
    tokenizer = starter_tokenizer()
    line_breaks = [i for i in range(tokenizer.vocab_size) if b"\n" in tokenizer.token_bytes(i)][:MAX_LOGIT_BIAS]
    return {
        "max_new_tokens": num_tokens,
        "min_new_tokens": num_tokens,
        "temperature": 1.0,
        "repetition_penalty": 1.0,
        "logit_bias": {str(token_id): -100 for token_id in line_breaks},
    }


def only(alphabet: str, num_tokens: int) -> dict[str, Any]:
    """Tokens of the bytes of `alphabet` in random order: whole characters, halves of them and nonsense between."""
    tokenizer = starter_tokenizer()
    ids = sorted({token_id for character in alphabet for token_id in tokenizer.encode(character)})
    return {
        "max_new_tokens": num_tokens,
        "min_new_tokens": num_tokens,
        "temperature": 5.0,
        "top_k": 0,
        "top_p": 1.0,
        "repetition_penalty": 1.0,
        "logit_bias": {str(token_id): 100 for token_id in ids[:MAX_LOGIT_BIAS]},
    }
