"""Log-probabilities of the model's own distribution: of tokens that were chosen, of a prompt's, of the next."""

from collections.abc import Sequence as Many
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from gpt2svc.engine.candidates import top_candidates
from gpt2svc.engine.types import EngineRequest, NextToken, Scoring, TokenLogprobs

_ROWS_AT_ONCE: Final = 64  # 13 MB of GPT-2's vocabulary


def token_logprobs(raw: Tensor, token_ids: Tensor, counts: Many[int]) -> list[TokenLogprobs]:
    """Raw float32 logits (rows, vocab_size), the tokens to tell of (rows,), and how many of the likeliest to list."""
    logprobs = raw.log_softmax(-1)
    chosen = logprobs.gather(1, token_ids.unsqueeze(1)).squeeze(1).tolist()
    most = max(counts)
    if most == 0:
        return [TokenLogprobs(logprob, ()) for logprob in chosen]
    values, top_ids = top_candidates(logprobs, most)
    return [
        TokenLogprobs(logprob, tuple(zip(ids[:count], top[:count], strict=True)))
        for logprob, ids, top, count in zip(chosen, top_ids.tolist(), values.tolist(), counts, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class PromptScores:
    """What one step brought of a prompt's scores."""

    logprobs: tuple[TokenLogprobs, ...]
    next_token: NextToken | None
    is_number: bool  # False: the model's output was NaN


@torch.inference_mode()
def score_prompt(request: EngineRequest, scoring: Scoring, logits: Tensor, start: int) -> PromptScores:
    """Of a prompt's rows from position `start` on: logits (rows, vocab_size), each of the token after its position."""
    prompt = request.prompt_token_ids
    num_known = min(len(logits), len(prompt) - 1 - start)  # rows after which the prompt goes on
    targets = torch.tensor(prompt[start + 1 : start + 1 + num_known], device=logits.device)
    logprobs: list[TokenLogprobs] = []
    for first in range(0, num_known, _ROWS_AT_ONCE):
        end = min(num_known, first + _ROWS_AT_ONCE)
        counts = [scoring.num_top] * (end - first)
        logprobs += token_logprobs(logits[first:end].float(), targets[first:end], counts)
    is_next_told = scoring.num_next is not None or scoring.has_distribution
    next_token = _next_token(logits[-1:], scoring) if len(logits) > num_known and is_next_told else None
    values = [each.logprob for each in logprobs] + ([next_token.entropy] if next_token is not None else [])
    return PromptScores(tuple(logprobs), next_token, is_number=all(value == value for value in values))


def _next_token(logits: Tensor, scoring: Scoring) -> NextToken:
    raw = logits.float()
    logprobs = raw.log_softmax(-1)  # (1, vocab_size)
    exact = logprobs.double()
    entropy = -torch.where(exact > -torch.inf, exact.exp() * exact, 0.0).sum().item()
    top: tuple[tuple[int, float], ...] = ()
    if scoring.num_next:
        values, token_ids = top_candidates(logprobs, scoring.num_next)
        top = tuple(zip(token_ids[0].tolist(), values[0].tolist(), strict=True))[: scoring.num_next]
    distribution = logprobs[0].cpu().numpy().astype("<f4").tobytes() if scoring.has_distribution else None
    return NextToken(top, entropy, raw.logsumexp(-1).item(), distribution)
