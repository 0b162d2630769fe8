"""A request's tokens and log-probabilities, bit for bit, whatever else the engine does meanwhile.

The same few mixes run each time; for a search of new ones:

    INVARIANCE_EXAMPLES=60 python -m pytest tests/engine/test_invariance.py -q -s --timeout 0
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpt2svc.engine.config import EngineConfig
from gpt2svc.engine.core import EngineCore
from gpt2svc.engine.sampling_params import SamplingParams
from gpt2svc.engine.types import EngineRequest, TokenLogprobs, TokenOutput
from gpt2svc.models.folder import ModelFolder
from gpt2svc.models.gpt2 import GPT2
from tests.fakes.model_kinds import MODEL_KINDS, load_kind

NUM_EXAMPLES = int(os.environ.get("INVARIANCE_EXAMPLES", "0"))

Reply = tuple[tuple[int, ...], tuple[TokenLogprobs, ...]]

SETTINGS = (
    SamplingParams(seed=1, temperature=0, repetition_penalty=1.0, logprobs=3),
    SamplingParams(seed=2, logprobs=0),
    SamplingParams(seed=3, temperature=1.3, top_k=0, top_p=1.0, repetition_penalty=1.0, logprobs=2),
    SamplingParams(seed=4, top_k=0, top_p=0.95, presence_penalty=0.5, frequency_penalty=0.3, logprobs=1),
    SamplingParams(seed=5, top_k=20, typical_p=0.8, min_p=0.01, no_repeat_ngram_size=2, logprobs=5),
    SamplingParams(seed=6, top_k=0, top_p=1.0, typical_p=0.7, logit_bias=((5, 1.0),), logprobs=1),
)


@dataclass(frozen=True)
class Plan:
    """One request of a mix. Prompts with equal `text` and `period` share their beginnings."""

    text: int
    prompt_length: int
    new_tokens: int
    settings: int
    arrival: int  # in steps
    abort_after: int | None  # in steps
    period: int = 1000  # after so many tokens the prompt begins again


PLANS = st.builds(
    Plan,
    text=st.integers(0, 3),
    prompt_length=st.one_of(st.integers(1, 40), st.integers(1, 900)),
    new_tokens=st.one_of(st.integers(1, 12), st.integers(1, 60)),
    settings=st.integers(0, len(SETTINGS) - 1),
    arrival=st.integers(0, 25),
    abort_after=st.one_of(st.none(), st.none(), st.none(), st.integers(0, 8)),
    period=st.sampled_from([1000, 1000, 7, 30]),
)


def _prompt(plan: Plan, vocab_size: int) -> tuple[int, ...]:
    value = plan.text + 1
    token_ids: list[int] = []
    for i in range(plan.prompt_length):
        value = (value * 48271) % 2147483647
        token_ids.append(value % vocab_size if i < plan.period else token_ids[i - plan.period])
    return tuple(token_ids)


def _request(plan: Plan, name: str, vocab_size: int) -> EngineRequest:
    params = replace(SETTINGS[plan.settings], max_new_tokens=plan.new_tokens)
    return EngineRequest(name, _prompt(plan, vocab_size), params, owner=f"owner {plan.text % 2}")


def _reply(outputs: list[TokenOutput]) -> Reply:
    return (
        tuple(t for output in outputs for t in output.token_ids),
        tuple(entry for output in outputs for entry in output.logprobs or ()),
    )


@pytest.fixture(params=MODEL_KINDS, scope="module")
def model(request: pytest.FixtureRequest, wide_folder: ModelFolder) -> GPT2:
    return load_kind(wide_folder, request.param)


@pytest.fixture(scope="module")
def alone(model: GPT2) -> Callable[[Plan], Reply]:
    """The reply to a request that has an engine to itself, its prompt in one piece and no prefix reused."""
    core = EngineCore(
        model,
        EngineConfig(
            max_num_seqs=1, max_num_batched_tokens=1024, is_prefix_reuse_enabled=False, is_speculation_enabled=False
        ),
    )

    @cache
    def run(plan: Plan) -> Reply:
        core.add_request(_request(plan, "alone", model.vocab_size))
        outputs = []
        while core.has_work:
            outputs += core.step()
        return _reply(outputs)

    return lambda plan: run(replace(plan, arrival=0, abort_after=None))


@pytest.fixture(scope="module")
def tally(model: GPT2) -> Iterator[Counter[str]]:
    """What the mixes of a model were made of; shown with `-s`."""
    counter: Counter[str] = Counter()
    yield counter
    print(f"\n{model.dtype}, mixes: {dict(counter)}")


@settings(
    max_examples=NUM_EXAMPLES or 8,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=not NUM_EXAMPLES,
    database=None,
)
@given(
    plans=st.integers(1, 40 if NUM_EXAMPLES else 12).flatmap(lambda n: st.lists(PLANS, min_size=n, max_size=n)),
    max_num_seqs=st.integers(1, 32),
    max_num_batched_tokens=st.one_of(st.integers(1, 512), st.sampled_from([1, 7, 33, 64, 256, 512])),
    max_num_prompt_tokens_beside=st.sampled_from([40, 96, 512]),
    is_speculation_enabled=st.booleans(),
)
def test_any_mix_gives_each_request_the_bits_it_has_alone(
    model: GPT2,
    alone: Callable[[Plan], Reply],
    tally: Counter[str],
    plans: list[Plan],
    max_num_seqs: int,
    max_num_batched_tokens: int,
    max_num_prompt_tokens_beside: int,
    is_speculation_enabled: bool,
) -> None:
    if max_num_batched_tokens < 33:  # a row at a time takes too long for the long prompts
        plans = [replace(plan, prompt_length=min(plan.prompt_length, 40)) for plan in plans]
    config = EngineConfig(
        max_num_seqs=max_num_seqs,
        max_num_batched_tokens=max_num_batched_tokens,
        max_num_prompt_tokens_beside=max_num_prompt_tokens_beside,
        is_speculation_enabled=is_speculation_enabled,
    )
    core = EngineCore(model, config)
    outputs: dict[str, list[TokenOutput]] = {str(i): [] for i in range(len(plans))}
    step = 0
    while core.has_work or step <= max(plan.arrival for plan in plans):
        for i, plan in enumerate(plans):
            if plan.arrival == step:
                core.add_request(_request(plan, str(i), model.vocab_size))
            if plan.abort_after is not None and plan.arrival + plan.abort_after == step:
                core.abort(str(i))
        for output in core.step():
            outputs[output.request_id].append(output)
        core.check_integrity()
        step += 1
    for i, plan in enumerate(plans):
        token_ids, logprobs = _reply(outputs[str(i)])
        expected_ids, expected_logprobs = alone(plan)
        is_aborted = outputs[str(i)][-1].finish_reason == "abort"
        if is_aborted:
            expected_ids, expected_logprobs = expected_ids[: len(token_ids)], expected_logprobs[: len(token_ids)]
        assert token_ids == expected_ids
        assert logprobs == expected_logprobs
        tally["requests"] += 1
        tally["aborted"] += is_aborted
        tally["with a reused prefix"] += any(output.num_cached_tokens for output in outputs[str(i)])
        tally["tokens"] += len(token_ids)
        tally["tokens from drafts"] += sum(max(0, len(output.token_ids) - 1) for output in outputs[str(i)])
    tally["mixes"] += 1
    assert core.stats.num_free_slots == core.stats.num_slots


def test_two_threads_give_the_bits_of_one(model: GPT2) -> None:
    plan = Plan(text=1, prompt_length=150, new_tokens=6, settings=1, arrival=0, abort_after=None)
    replies = []
    for num_threads in (1, 2):
        torch.set_num_threads(num_threads)
        try:
            core = EngineCore(model, EngineConfig(max_num_seqs=2))
            core.add_request(_request(plan, "a", model.vocab_size))
            outputs = []
            while core.has_work:
                outputs += core.step()
        finally:
            torch.set_num_threads(1)
        replies.append(_reply(outputs))
    assert replies[0] == replies[1]


def test_greedy_logprob_is_the_maximum_of_its_top(alone: Callable[[Plan], Reply]) -> None:
    _, logprobs = alone(Plan(text=0, prompt_length=30, new_tokens=12, settings=0, arrival=0, abort_after=None))
    assert len(logprobs) == 12
    for entry in logprobs:
        assert entry.logprob == entry.top[0][1] == max(value for _, value in entry.top)
