"""A token's log-probabilities as its event carries and the store keeps them."""

from typing import Any

from gpt2svc.engine.types import TokenLogprobs
from gpt2svc.models.tokenizer import Tokenizer

MIN_LOGPROB = -9999.0  # JSON has no infinity


def logprobs_mapping(logprobs: TokenLogprobs, tokenizer: Tokenizer) -> dict[str, Any]:
    return {
        "logprob": max(logprobs.logprob, MIN_LOGPROB),
        "top_logprobs": [
            {
                "token_id": token_id,
                "text": tokenizer.token_text(token_id).replace("\x00", "\ufffd"),
                "logprob": max(logprob, MIN_LOGPROB),
            }
            for token_id, logprob in logprobs.top
        ],
    }
