"""Scoring a text through an engine: how likely its tokens are, and which one may come next."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import cast

from gpt2svc.engine.sampling_params import SamplingParams
from gpt2svc.engine.types import EngineRequest, NextToken, Scoring, TokenLogprobs, TokenOutput
from gpt2svc.errors import EngineError
from gpt2svc.worker.protocol import EngineClient

_NO_TOKENS = SamplingParams(seed=0, max_new_tokens=0)


@dataclass(frozen=True, slots=True)
class PromptScore:
    """`logprobs` of the tokens from `scoring.start` on; `next_token` where the scoring asked for it."""

    logprobs: tuple[TokenLogprobs, ...]
    next_token: NextToken | None
    num_cached_tokens: int


async def score_prompt(
    engine: EngineClient, request_id: str, token_ids: tuple[int, ...], scoring: Scoring, *, owner: str = ""
) -> PromptScore:
    """Score 1 to `n_positions` tokens without generating any; batched with whatever else the engine does.

    Cancelling it takes the request out of the engine. Raises EngineError where the engine refuses it or fails, and
    WorkerCrashedError and UnavailableError as `EngineClient.submit` does.
    """
    logprobs: list[TokenLogprobs] = []
    next_token = None
    num_cached = 0
    num_expected = len(token_ids) - scoring.start
    request = EngineRequest(request_id, token_ids, _NO_TOKENS, owner, scoring=scoring)
    outputs = cast(AsyncGenerator[TokenOutput, None], engine.submit(request))
    async with aclosing(outputs):  # an error in mid-stream must not leave the request behind until it is collected
        async for output in outputs:
            logprobs += output.prompt_logprobs or ()
            next_token = output.next_token or next_token
            num_cached = max(num_cached, output.num_cached_tokens)
            if output.finish_reason == "error":
                raise EngineError(output.error or "The engine could not score this text.")
            if output.finish_reason == "abort":
                raise EngineError("The engine gave up scoring this text.")
    if len(logprobs) != num_expected:
        raise EngineError(f"The engine scored {len(logprobs)} tokens of {num_expected}.")
    return PromptScore(tuple(logprobs), next_token, num_cached)
