"""Drafts from a sequence's own text: the same replies, in fewer steps."""

from dataclasses import replace

import pytest

from gpt2svc.engine.config import EngineConfig
from gpt2svc.engine.core import EngineCore
from gpt2svc.engine.sampling_params import SamplingParams
from gpt2svc.engine.speculation import DRAFT_LENGTH, MAX_ROWS
from gpt2svc.engine.types import EngineRequest, TokenOutput
from tests.fakes.model import HashModel
from tests.fakes.repeating_model import RepeatingModel

GREEDY = SamplingParams(seed=0, temperature=0, repetition_penalty=1.0, max_new_tokens=90)
SETTINGS = {
    "greedy": replace(GREEDY, logprobs=2),
    "drawn": SamplingParams(seed=3, temperature=1.0, top_k=0, top_p=1.0, repetition_penalty=1.0, max_new_tokens=90),
    "filtered": SamplingParams(seed=4, repetition_penalty=1.05, logprobs=0, max_new_tokens=90),
    "penalties": replace(GREEDY, presence_penalty=0.1, frequency_penalty=0.02, logit_bias=((12, 0.5),), logprobs=1),
    "no repeats": replace(GREEDY, no_repeat_ngram_size=4),
    "late stop": replace(GREEDY, min_new_tokens=40, stop_token_ids=(11, 13)),
}


def _core(model: RepeatingModel | HashModel | None = None, **config: int | bool) -> EngineCore:
    return EngineCore(model if model is not None else RepeatingModel(), EngineConfig(**config))  # type: ignore[arg-type]


def _request(name: str, prompt: tuple[int, ...], params: SamplingParams = GREEDY) -> EngineRequest:
    return EngineRequest(name, prompt, params, owner=name)


def _run(core: EngineCore) -> dict[str, TokenOutput]:
    """Everything that came of each request, as if it had come at once."""
    whole: dict[str, TokenOutput] = {}
    while core.has_work:
        for output in core.step():
            before = whole.get(output.request_id)
            if before is not None:
                assert before.finish_reason is None
                logprobs = None if output.logprobs is None else (before.logprobs or ()) + output.logprobs
                output = replace(output, token_ids=before.token_ids + output.token_ids, logprobs=logprobs)
            whole[output.request_id] = output
        core.check_integrity()
    return whole


@pytest.mark.parametrize("name", SETTINGS)
def test_replies_are_those_without_drafts(name: str) -> None:
    results = []
    num_steps = []
    for is_enabled in (False, True):
        core = _core(max_num_seqs=4, is_speculation_enabled=is_enabled)
        for i in range(6):
            params = replace(SETTINGS[name], seed=i)
            core.add_request(_request(f"r{i}", tuple(range(1 + 5 * i)), params))
        results.append(_run(core))
        num_steps.append(core.stats.num_steps)
        assert core.stats.num_generated_tokens == sum(len(output.token_ids) for output in results[-1].values())
    assert results[0] == results[1]
    if name != "no repeats":
        assert num_steps[1] < num_steps[0]


@pytest.mark.parametrize("length", range(1, 9))
def test_reply_length_is_kept_to_within_a_draft(length: int) -> None:
    core = _core()
    prompt = (11, 12, 13, 14) * 6
    core.add_request(_request("a", prompt, replace(GREEDY, max_new_tokens=length)))
    output = _run(core)["a"]
    assert len(output.token_ids) == length
    assert output.finish_reason == "length"


def test_a_reply_may_fill_the_window() -> None:
    model = RepeatingModel(n_positions=64)
    core = _core(model)
    core.add_request(_request("a", (11, 12, 13, 14), replace(GREEDY, max_new_tokens=60)))
    assert len(_run(core)["a"].token_ids) == 60
    assert max(model.num_rows) == 1 + DRAFT_LENGTH


def test_what_follows_a_stop_token_is_discarded_and_the_prefix_is_right_afterwards() -> None:
    plain, speculating = _core(is_speculation_enabled=False), _core()
    plain.add_request(_request("a", (1, 2, 3)))
    whole = (1, 2, 3, *_run(plain)["a"].token_ids)
    for num_prompt in range(20, 60):
        prompt, rest = whole[:num_prompt], whole[num_prompt:]
        stop = rest[3]
        expected = rest[: rest.index(stop) + 1]
        speculating.add_request(_request("a", prompt, replace(GREEDY, stop_token_ids=(stop,), max_new_tokens=20)))
        output = _run(speculating)["a"]
        assert (output.token_ids, output.finish_reason) == (expected, "stop")
        # A follow-up finds what was accepted in the KV cache, and nothing of the draft beyond it.
        follow_up = (*prompt, *expected, 5)
        for core in (plain, speculating):
            core.add_request(_request("a", follow_up, replace(GREEDY, max_new_tokens=30)))
        answers = [_run(core)["a"] for core in (plain, speculating)]
        assert answers[0].token_ids == answers[1].token_ids
        assert answers[1].num_cached_tokens >= len(follow_up) - 2


def test_a_step_has_no_more_rows_than_it_may() -> None:
    model = RepeatingModel()
    core = _core(model, max_num_seqs=4, max_num_batched_tokens=6)
    for i in range(4):
        core.add_request(_request(f"r{i}", (11, 12, 13, 14 + i) * 4))
    _run(core)
    assert max(model.num_rows) == 6


def test_a_full_batch_runs_without_drafts() -> None:
    model = RepeatingModel()
    num_seqs = MAX_ROWS + 1
    core = _core(model, max_num_seqs=num_seqs)
    for i in range(num_seqs):
        core.add_request(_request(f"r{i}", (11, 12, 13, i % 10), replace(GREEDY, max_new_tokens=40)))
    _run(core)
    assert max(model.num_rows[-39:]) == num_seqs


def test_text_that_only_seems_to_repeat_itself_is_soon_left_alone() -> None:
    # Pairs of 40 different tokens come again all the time, but what follows them is another token each time.
    model = HashModel(n_positions=2000)
    core = _core(model)
    core.add_request(_request("a", (1, 2, 3), replace(GREEDY, max_new_tokens=1500)))
    _run(core)
    drafts = [chunk for call in model.calls[1:] for chunk in call if chunk[2] > 1]
    assert 0 < len(drafts) < 200


def test_damaged_logits_end_the_reply_where_they_would_without_drafts() -> None:
    reply_of = _core(is_speculation_enabled=False)
    reply_of.add_request(_request("a", (1, 2, 3)))
    reply = _run(reply_of)["a"].token_ids
    for numbing in set(reply):
        outputs = []
        for is_enabled in (False, True):
            core = _core(RepeatingModel(numbing=numbing), is_speculation_enabled=is_enabled)
            core.add_request(_request("a", (1, 2, 3)))
            outputs.append(_run(core)["a"])
            assert core.stats.num_free_slots == core.stats.num_slots
        assert outputs[0].finish_reason == "error"
        assert outputs[0] == outputs[1]
