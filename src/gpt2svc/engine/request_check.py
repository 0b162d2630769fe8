"""Whether a model can take a request. Torch-free."""

import math
from typing import Final

from gpt2svc.engine.sampling_params import SamplingParams
from gpt2svc.engine.types import EngineRequest, Scoring
from gpt2svc.errors import ContextWindowError, InvalidInputError

MAX_LENGTH_PENALTY: Final = 10
MAX_PROMPT_TOP: Final = 100  # alternatives a scored token: a prompt of a thousand would else be too much to send


def check_request(request: EngineRequest, *, n_positions: int, vocab_size: int) -> None:
    """Raises InvalidInputError, or ContextWindowError where prompt and reply don't fit the window."""
    num_prompt = len(request.prompt_token_ids)
    if num_prompt == 0:
        raise InvalidInputError("The prompt has no tokens: at least one is needed.", field="prompt")
    largest = max(request.prompt_token_ids)
    smallest = min(request.prompt_token_ids)
    if smallest < 0 or largest >= vocab_size:
        bad = smallest if smallest < 0 else largest
        raise InvalidInputError(
            f"The prompt has the token id {bad}, but the model's ids are 0 to {vocab_size - 1}.", field="prompt"
        )
    is_only_scored = request.params.max_new_tokens == 0 and (request.scoring is not None or request.pooling is not None)
    max_prompt = n_positions if is_only_scored else n_positions - 1
    if num_prompt > max_prompt:
        room = "." if is_only_scored else ", with room for one new token."
        raise ContextWindowError(
            f"The prompt has {num_prompt} tokens; at most {max_prompt} fit the window of {n_positions}{room}",
            num_tokens=num_prompt,
            max_tokens=max_prompt,
            field="prompt",
        )
    if request.pooling is not None and (not is_only_scored or request.scoring is not None):
        raise InvalidInputError(
            "A prompt that is pooled can't be continued or scored in the same request.", field="pooling"
        )
    if request.params.is_beam_search and (request.scoring is not None or request.pooling is not None):
        raise InvalidInputError("With num_beams the prompt can't be scored or pooled.", field="num_beams")
    if request.scoring is not None:
        _check_scoring(request.scoring, num_prompt)
    _check_params(request.params, vocab_size, min_new=0 if is_only_scored else 1)
    num_least = min(num_prompt, request.params.max_new_tokens)
    if request.num_reply_tokens and not 0 <= request.num_reply_tokens < num_least:
        raise InvalidInputError(
            f"num_reply_tokens must be from 0 to less than the prompt's {num_prompt} tokens and max_new_tokens "
            f"({request.params.max_new_tokens}).",
            field="num_reply_tokens",
        )
    num_prompt -= request.num_reply_tokens
    if num_prompt + request.params.max_new_tokens > n_positions:
        raise ContextWindowError(
            f"The prompt has {num_prompt} tokens and max_new_tokens is {request.params.max_new_tokens}: together they "
            f"are more than the window of {n_positions}.",
            num_tokens=num_prompt,
            max_tokens=n_positions - request.params.max_new_tokens,
            field="max_new_tokens",
        )


def check_beams(params: SamplingParams, *, num_slots: int, vocab_size: int) -> None:
    """Raises InvalidInputError for a beam search that can't be, or for which the engine has too few slots."""
    most = min(num_slots, max(1, vocab_size // 2))
    if not 1 <= params.num_beams <= most:
        raise InvalidInputError(
            f"num_beams must be from 1 to {most}: each beam takes a slot of the KV cache, and there are {num_slots}.",
            field="num_beams",
        )
    if params.num_beam_groups < 1 or params.num_beams % params.num_beam_groups:
        raise InvalidInputError(
            f"num_beam_groups ({params.num_beam_groups}) must be a divisor of num_beams ({params.num_beams}).",
            field="num_beam_groups",
        )
    if not 0 <= params.diversity_penalty < math.inf:
        raise InvalidInputError("diversity_penalty must be at least 0.", field="diversity_penalty")
    if params.diversity_penalty and params.num_beam_groups == 1:
        raise InvalidInputError("diversity_penalty needs num_beam_groups above 1.", field="diversity_penalty")
    if not -MAX_LENGTH_PENALTY <= params.length_penalty <= MAX_LENGTH_PENALTY:
        raise InvalidInputError(
            f"length_penalty must be from -{MAX_LENGTH_PENALTY} to {MAX_LENGTH_PENALTY}.", field="length_penalty"
        )
    if params.early_stopping not in (True, False, "never"):
        raise InvalidInputError('early_stopping must be true, false or "never".', field="early_stopping")
    if not 1 <= params.num_return_sequences <= params.num_beams:
        raise InvalidInputError(
            f"num_return_sequences must be from 1 to num_beams ({params.num_beams}).", field="num_return_sequences"
        )


def check_task(request: EngineRequest, *, has_head: bool, is_language_model: bool) -> None:
    """Raises InvalidInputError where the model wasn't made for what is asked of it."""
    pooling = request.pooling
    if pooling is None and not is_language_model:
        raise InvalidInputError(
            "This model classifies texts: it has no language model's head to continue or score them with.",
            field="model",
        )
    if pooling is not None and pooling.has_head and not has_head:
        raise InvalidInputError("This model is a plain language model: it has no head of a task.", field="model")


def _check_scoring(scoring: Scoring, num_prompt: int) -> None:
    if not 1 <= scoring.start <= num_prompt:
        raise InvalidInputError(f"start must be from 1 to the prompt's {num_prompt} tokens.", field="start")
    if not 0 <= scoring.num_top <= MAX_PROMPT_TOP:
        raise InvalidInputError(f"num_top must be from 0 to {MAX_PROMPT_TOP}.", field="num_top")
    if scoring.num_next is not None and scoring.num_next < 0:
        raise InvalidInputError("num_next must be at least 0.", field="num_next")


def _check_params(params: SamplingParams, vocab_size: int, *, min_new: int) -> None:
    at_least: tuple[tuple[str, float], ...] = (
        ("max_new_tokens", min_new),
        ("min_new_tokens", 0),
        ("temperature", 0),
        ("top_k", 0),
        ("no_repeat_ngram_size", 0),
    )
    for name, minimum in at_least:
        if not getattr(params, name) >= minimum:
            raise InvalidInputError(f"{name} must be at least {minimum}.", field=name)
    for name in ("top_p", "min_p", "typical_p"):
        if not 0 <= getattr(params, name) <= 1:
            raise InvalidInputError(f"{name} must be from 0 to 1.", field=name)
    if not 0 < params.repetition_penalty < math.inf:
        raise InvalidInputError("repetition_penalty must be above 0.", field="repetition_penalty")
    for name in ("temperature", "presence_penalty", "frequency_penalty"):
        if not math.isfinite(getattr(params, name)):
            raise InvalidInputError(f"{name} must be a finite number.", field=name)
    if params.logprobs is not None and not 0 <= params.logprobs <= vocab_size:
        raise InvalidInputError(f"logprobs must be from 0 to {vocab_size}.", field="logprobs")
    for token_id, bias in params.logit_bias:
        if not 0 <= token_id < vocab_size or not math.isfinite(bias):
            raise InvalidInputError(
                f"logit_bias gives {bias} to the token id {token_id}: ids are 0 to {vocab_size - 1}, values finite.",
                field="logit_bias",
            )
    for token_id in params.stop_token_ids:
        if not 0 <= token_id < vocab_size:
            raise InvalidInputError(
                f"stop_token_ids has {token_id}, but the model's ids are 0 to {vocab_size - 1}.",
                field="stop_token_ids",
            )
