"""What the scripted engine tells beside tokens: numbers that are easy to foresee."""

import struct
from typing import Literal

from gpt2svc.engine.types import (
    EngineRequest,
    FinishReason,
    Hypothesis,
    NextToken,
    TokenLogprobs,
)
from tests.fakes.tokenizer import TINY_VOCAB_SIZE


def fake_logprobs(token_ids: tuple[int, ...], num_top: int | None) -> tuple[TokenLogprobs, ...] | None:
    if num_top is None:
        return None
    tops = (tuple(((token_id + i) % TINY_VOCAB_SIZE, -0.5 - i) for i in range(num_top)) for token_id in token_ids)
    return tuple(TokenLogprobs(logprob=-0.5, top=top) for top in tops)


def fake_hypotheses(
    request: EngineRequest, token_ids: tuple[int, ...], finish_reason: FinishReason
) -> tuple[Hypothesis, ...] | None:
    """Each one token shorter, at its beginning, than the one before it, and worse by 1."""
    if not request.params.is_beam_search:
        return None
    reason: Literal["stop", "length"] = "stop" if finish_reason == "stop" else "length"
    return tuple(
        Hypothesis(token_ids[rank:], -1.5 - rank, reason, fake_logprobs(token_ids[rank:], request.params.logprobs))
        for rank in range(request.params.num_return_sequences)
    )


def fake_prompt_logprobs(request: EngineRequest) -> tuple[TokenLogprobs, ...] | None:
    scoring = request.scoring
    return None if scoring is None else fake_logprobs(request.prompt_token_ids[scoring.start :], scoring.num_top)


def fake_next_token(request: EngineRequest) -> NextToken | None:
    """Each token half as likely as the one before, from the prompt's last one on."""
    scoring = request.scoring
    if scoring is None or (scoring.num_next is None and not scoring.has_distribution):
        return None
    ids = [(request.prompt_token_ids[-1] + i) % TINY_VOCAB_SIZE for i in range(TINY_VOCAB_SIZE)]
    logprobs = {token_id: -0.5 - i for i, token_id in enumerate(ids)}
    distribution = struct.pack(f"<{TINY_VOCAB_SIZE}f", *(logprobs[i] for i in range(TINY_VOCAB_SIZE)))
    top = tuple(logprobs.items())[: scoring.num_next or 0]
    return NextToken(top, 1.25, 2.5, distribution if scoring.has_distribution else None)
