"""Completions: what a model writes after given prompts, greedily, by the engine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gpt2svc.engine.core import EngineCore
from gpt2svc.engine.generate import stream
from gpt2svc.engine.sampling_params import SamplingParams
from gpt2svc.errors import EngineError
from gpt2svc.models.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class WrittenCompletions:
    texts: tuple[str, ...]  # in the order of the prompts
    num_cut_prompts: int  # those whose beginning was left out, since they didn't fit the window


def write_completions(
    core: EngineCore,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    n_positions: int,
    end_token_id: int | None = None,
    stop: Sequence[str] = (),
    on_progress: Callable[[int, int], None] | None = None,
) -> WrittenCompletions:
    """Until `end_token_id`, `max_new_tokens` or a stop string, which is cut off with what follows.

    `max_new_tokens` must be below `n_positions`. `on_progress` hears (completions done, in all).
    """
    limit = n_positions - max_new_tokens
    encoded = [tokenizer.encode(prompt) for prompt in prompts]
    params = SamplingParams(
        max_new_tokens=max_new_tokens,
        temperature=0.0,
        top_k=0,
        top_p=1.0,
        repetition_penalty=1.0,
        seed=0,
        stop_token_ids=() if end_token_id is None else (end_token_id,),
    )
    written: list[list[int]] = [[] for _ in prompts]
    num_done = 0
    for delta in stream(core, [ids[-limit:] for ids in encoded], params):
        if delta.output.finish_reason == "error":
            raise EngineError(delta.output.error or "The engine could not go on.")
        written[delta.prompt_index].extend(delta.output.token_ids)
        if delta.output.finish_reason is not None:
            num_done += 1
            if on_progress is not None:
                on_progress(num_done, len(prompts))
    return WrittenCompletions(
        texts=tuple(_until(tokenizer.decode(ids), stop) for ids in written),
        num_cut_prompts=sum(len(ids) > limit for ids in encoded),
    )


def _until(text: str, stop: Sequence[str]) -> str:
    places = [place for place in map(text.find, stop) if place >= 0]
    return text[: min(places)] if places else text
