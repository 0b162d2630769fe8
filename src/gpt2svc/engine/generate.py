"""Generation without a server: run an engine until given prompts are answered. For the command line and for tests."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from gpt2svc.engine.core import EngineCore
from gpt2svc.engine.sampling_params import SamplingParams
from gpt2svc.engine.types import EngineRequest, FinishReason, TokenLogprobs, TokenOutput


@dataclass(frozen=True, slots=True)
class Completion:
    """One finished sequence. `token_ids` are the new ones; a stop token that ended them is the last."""

    prompt_index: int
    sequence_index: int  # among the prompt's return sequences
    seed: int
    token_ids: tuple[int, ...]
    logprobs: tuple[TokenLogprobs, ...] | None
    finish_reason: FinishReason
    error: str | None = None
    score: float | None = None  # of a beam search's result


@dataclass(frozen=True, slots=True)
class CompletionDelta:
    """What one step brought for one sequence."""

    prompt_index: int
    sequence_index: int
    output: TokenOutput


def generate(
    core: EngineCore, prompts: Sequence[Sequence[int]], params: SamplingParams, *, num_return_sequences: int = 1
) -> list[Completion]:
    """Continue each prompt (token ids) `num_return_sequences` times, the i-th with the seed `params.seed + i`.

    With beams these are the best results of one search a prompt, best first. In the order of the prompts, then of their
    sequences. Raises InvalidInputError as EngineCore.add_request does, with nothing left in the engine.
    """
    tokens: dict[tuple[int, int], list[int]] = {}
    logprobs: dict[tuple[int, int], list[TokenLogprobs]] = {}
    ends: dict[tuple[int, int], TokenOutput] = {}
    for delta in stream(core, prompts, params, num_return_sequences=num_return_sequences):
        key = (delta.prompt_index, delta.sequence_index)
        tokens.setdefault(key, []).extend(delta.output.token_ids)
        logprobs.setdefault(key, []).extend(delta.output.logprobs or ())
        if delta.output.finish_reason is not None:
            ends[key] = delta.output
    completions = []
    for key, end in sorted(ends.items()):
        if end.hypotheses is not None:
            completions += [
                Completion(
                    prompt_index=key[0],
                    sequence_index=rank,
                    seed=params.seed,
                    token_ids=hypothesis.token_ids,
                    logprobs=hypothesis.logprobs,
                    finish_reason=hypothesis.finish_reason,
                    score=hypothesis.score,
                )
                for rank, hypothesis in enumerate(end.hypotheses)
            ]
            continue
        completions.append(
            Completion(
                prompt_index=key[0],
                sequence_index=key[1],
                seed=params.seed + key[1],
                token_ids=tuple(tokens[key]),
                logprobs=tuple(logprobs[key]) if params.logprobs is not None else None,
                finish_reason=end.finish_reason or "error",
                error=end.error,
            )
        )
    return completions


def stream(
    core: EngineCore, prompts: Sequence[Sequence[int]], params: SamplingParams, *, num_return_sequences: int = 1
) -> Iterator[CompletionDelta]:
    """As `generate`, step by step; of a beam search only the best result comes as deltas.

    Leaving the iterator early aborts what is unfinished.

    The engine must be idle: outputs of other requests would be lost.
    """
    keys: dict[str, tuple[int, int]] = {}
    try:
        for prompt_index, prompt in enumerate(prompts):
            for sequence_index in range(1 if params.is_beam_search else num_return_sequences):
                request_id = f"generate-{prompt_index}-{sequence_index}"
                core.add_request(
                    EngineRequest(
                        request_id=request_id,
                        prompt_token_ids=tuple(prompt),
                        params=replace(
                            params,
                            seed=params.seed + sequence_index,
                            num_return_sequences=num_return_sequences if params.is_beam_search else 1,
                        ),
                        owner="generate",
                    )
                )
                keys[request_id] = (prompt_index, sequence_index)
        while keys:
            for output in core.step():
                prompt_index, sequence_index = keys[output.request_id]
                if output.finish_reason is not None:
                    del keys[output.request_id]
                yield CompletionDelta(prompt_index, sequence_index, output)
    finally:
        for request_id in keys:
            core.abort(request_id)
        if keys:
            core.step()  # hands over the aborted ends
