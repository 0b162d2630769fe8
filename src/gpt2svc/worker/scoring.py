"""Scoring a text through an engine: how likely its tokens are, and which one may come next."""

from dataclasses import dataclass

from gpt2svc.engine.sampling_params import NO_TOKENS
from gpt2svc.engine.types import EngineRequest, NextToken, Scoring, TokenLogprobs
from gpt2svc.errors import EngineError
from gpt2svc.worker.protocol import EngineClient
from gpt2svc.worker.reading import read_text


@dataclass(frozen=True, slots=True)
class PromptScore:
    """`logprobs` of the tokens from `scoring.start` on; `next_token` where the scoring asked for it."""

    logprobs: tuple[TokenLogprobs, ...]
    next_token: NextToken | None
    num_cached_tokens: int


async def score_prompt(
    engine: EngineClient, request_id: str, token_ids: tuple[int, ...], scoring: Scoring, *, owner: str = ""
) -> PromptScore:
    """Score 1 to `n_positions` tokens without generating any. Raises as `read_text` does."""
    outputs = await read_text(engine, EngineRequest(request_id, token_ids, NO_TOKENS, owner, scoring=scoring))
    logprobs = tuple(each for output in outputs for each in output.prompt_logprobs or ())
    num_expected = len(token_ids) - scoring.start
    if len(logprobs) != num_expected:
        raise EngineError(f"The engine scored {len(logprobs)} tokens of {num_expected}.")
    next_token = next((output.next_token for output in reversed(outputs) if output.next_token is not None), None)
    return PromptScore(logprobs, next_token, max((output.num_cached_tokens for output in outputs), default=0))
