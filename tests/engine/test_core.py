from dataclasses import replace

import pytest

from gpt2svc.engine.config import EngineConfig
from gpt2svc.engine.core import EngineCore
from gpt2svc.engine.sampling_params import SamplingParams
from gpt2svc.engine.types import EngineRequest, TokenOutput
from gpt2svc.errors import ConfigError, ContextWindowError, InvalidInputError
from tests.fakes.model import VOCAB_SIZE, HashModel, greedy_reply

GREEDY = SamplingParams(seed=0, temperature=0, repetition_penalty=1.0, max_new_tokens=5)


def _core(model: HashModel | None = None, **config: int) -> EngineCore:
    return EngineCore(model if model is not None else HashModel(), EngineConfig(**config))


def _request(name: str, prompt: tuple[int, ...], params: SamplingParams = GREEDY, owner: str = "") -> EngineRequest:
    return EngineRequest(name, prompt, params, owner)


def _run(core: EngineCore) -> dict[str, list[TokenOutput]]:
    outputs: dict[str, list[TokenOutput]] = {}
    while core.has_work:
        for output in core.step():
            outputs.setdefault(output.request_id, []).append(output)
        core.check_integrity()
    return outputs


def _tokens(outputs: list[TokenOutput]) -> tuple[int, ...]:
    return tuple(token_id for output in outputs for token_id in output.token_ids)


def test_every_request_gets_its_own_reply_and_one_end() -> None:
    core = _core(max_num_seqs=3, max_num_batched_tokens=7)
    prompts = {f"r{i}": tuple(range(1 + i % 9)) for i in range(12)}
    for name, prompt in prompts.items():
        core.add_request(_request(name, prompt, owner=name))
    outputs = _run(core)
    for name, prompt in prompts.items():
        assert _tokens(outputs[name]) == greedy_reply(prompt, 5)
        assert [output.finish_reason for output in outputs[name]] == [None] * 4 + ["length"]
    assert core.stats.num_generated_tokens == 60
    assert core.stats.num_free_slots == core.stats.num_slots == 3


def test_stop_token_ends_the_sequence_and_is_its_last() -> None:
    core = _core()
    reply = greedy_reply((1, 2, 3), 5)
    stop = reply[2]
    core.add_request(_request("a", (1, 2, 3), replace(GREEDY, stop_token_ids=(stop, 0))))
    outputs = _run(core)["a"]
    assert _tokens(outputs) == reply[: reply.index(stop) + 1]
    assert outputs[-1].finish_reason == "stop"


def test_follow_up_computes_only_what_is_new() -> None:
    model = HashModel()
    core = _core(model)
    core.add_request(_request("turn 1", (1, 2, 3), owner="ann"))
    reply = _tokens(_run(core)["turn 1"])
    model.calls.clear()
    prompt = (1, 2, 3, *reply, 4, 5)
    core.add_request(_request("turn 2", prompt, owner="ann"))
    outputs = _run(core)["turn 2"]
    assert _tokens(outputs) == greedy_reply(prompt, 5)
    assert outputs[0].num_cached_tokens == 7  # the reply's last token was sampled, but never computed
    assert model.calls[0] == [(0, 7, 3)]


def test_another_owner_computes_all() -> None:
    model = HashModel()
    core = _core(model)
    core.add_request(_request("a", (1, 2, 3), owner="ann"))
    _run(core)
    model.calls.clear()
    core.add_request(_request("b", (1, 2, 3, 4), owner="ben"))
    assert _run(core)["b"][0].num_cached_tokens == 0
    assert model.calls[0] == [(1, 0, 4)]


def test_running_sequence_shares_its_prefix_by_copy() -> None:
    core = _core()
    prompt = tuple(range(10)) * 3
    core.add_request(_request("a", prompt, owner="ann"))
    first = core.step()
    core.add_request(_request("b", (*prompt, 9), owner="ann"))
    outputs = _run(core)
    assert _tokens(first) + _tokens(outputs["a"]) == greedy_reply(prompt, 5)
    assert _tokens(outputs["b"]) == greedy_reply((*prompt, 9), 5)
    assert outputs["b"][0].num_cached_tokens == 30


def test_abort_ends_a_request_in_any_state() -> None:
    core = _core(max_num_seqs=2, max_num_batched_tokens=4)
    core.add_request(_request("decoding", (1,)))
    core.step()
    core.add_request(_request("prefilling", tuple(range(20))))
    core.add_request(_request("waiting", (3,)))
    core.step()
    assert core.stats.num_running == 2
    assert core.stats.num_waiting == 1
    for name in ("decoding", "prefilling", "waiting", "unknown"):
        core.abort(name)
        core.abort(name)
        core.check_integrity()
    assert core.has_work
    assert sorted((o.request_id, o.finish_reason, o.token_ids) for o in core.step()) == [
        ("decoding", "abort", ()),
        ("prefilling", "abort", ()),
        ("waiting", "abort", ()),
    ]
    assert not core.has_work
    assert core.stats.num_free_slots == 2


def test_request_id_is_free_again_after_its_end() -> None:
    core = _core()
    core.add_request(_request("a", (1,)))
    with pytest.raises(InvalidInputError, match="already in progress"):
        core.add_request(_request("a", (2,)))
    core.abort("a")
    core.add_request(_request("a", (3,)))
    outputs = _run(core)["a"]
    assert outputs[0].finish_reason == "abort"
    assert _tokens(outputs) == greedy_reply((3,), 5)


def test_failing_step_ends_its_requests_and_leaves_the_engine_usable() -> None:
    core = _core(HashModel(poison=9), max_num_seqs=2)
    core.add_request(_request("good", (1, 2), owner="ann"))
    core.add_request(_request("bad", (1, 9)))
    core.add_request(_request("later", (1, 2), owner="ann"))
    ends = {output.request_id: output for output in core.step()}
    assert {name: output.finish_reason for name, output in ends.items()} == {"good": "error", "bad": "error"}
    assert "out of memory" in (ends["bad"].error or "")
    core.check_integrity()
    outputs = _run(core)["later"]
    assert _tokens(outputs) == greedy_reply((1, 2), 5)
    assert outputs[0].num_cached_tokens == 0  # nothing of a failed step is reused


def test_row_that_is_not_a_number_ends_alone() -> None:
    core = _core(HashModel(numbing=9))
    core.add_request(_request("good", (1, 2)))
    core.add_request(_request("bad", (1, 9)))
    core.add_request(_request("sampled bad", (2, 9), replace(GREEDY, temperature=1.0)))
    outputs = _run(core)
    assert _tokens(outputs["good"]) == greedy_reply((1, 2), 5)
    for name in ("bad", "sampled bad"):
        assert [o.finish_reason for o in outputs[name]] == ["error"]
        assert "not a number" in (outputs[name][0].error or "")


def test_settings_that_ban_every_token_end_in_an_error() -> None:
    core = _core()
    ban_all = replace(GREEDY, min_new_tokens=2, stop_token_ids=tuple(range(VOCAB_SIZE)))
    core.add_request(_request("a", (1,), ban_all))
    core.add_request(_request("b", (1,), replace(ban_all, temperature=1.0)))
    for outputs in _run(core).values():
        assert [o.finish_reason for o in outputs] == ["error"]
        assert "no token" in (outputs[0].error or "")


def test_prompt_and_reply_fill_the_window_exactly() -> None:
    core = _core(HashModel(n_positions=16))
    prompt = tuple(range(10))
    core.add_request(_request("a", prompt, replace(GREEDY, max_new_tokens=6)))
    assert _tokens(_run(core)["a"]) == greedy_reply(prompt, 6)


@pytest.mark.parametrize(
    ("prompt", "changes", "field"),
    [
        ((), {}, "prompt"),
        ((1, VOCAB_SIZE), {}, "prompt"),
        ((-1,), {}, "prompt"),
        ((1,), {"max_new_tokens": 0}, "max_new_tokens"),
        ((1,), {"temperature": float("nan")}, "temperature"),
        ((1,), {"top_p": 1.5}, "top_p"),
        ((1,), {"repetition_penalty": 0.0}, "repetition_penalty"),
        ((1,), {"presence_penalty": float("inf")}, "presence_penalty"),
        ((1,), {"logprobs": VOCAB_SIZE + 1}, "logprobs"),
        ((1,), {"logit_bias": ((VOCAB_SIZE, 1.0),)}, "logit_bias"),
        ((1,), {"stop_token_ids": (-3,)}, "stop_token_ids"),
    ],
)
def test_wrong_request_is_refused_by_name_and_leaves_nothing(
    prompt: tuple[int, ...], changes: dict[str, object], field: str
) -> None:
    core = _core()
    with pytest.raises(InvalidInputError) as caught:
        core.add_request(_request("a", prompt, replace(GREEDY, **changes)))  # type: ignore[arg-type]
    assert caught.value.field == field
    assert not core.has_work


def test_prompt_over_the_window_says_both_numbers() -> None:
    core = _core(HashModel(n_positions=16))
    with pytest.raises(ContextWindowError) as caught:
        core.add_request(_request("a", (1,) * 16))
    assert (caught.value.num_tokens, caught.value.max_tokens) == (16, 15)
    with pytest.raises(ContextWindowError) as caught:
        core.add_request(_request("a", (1,) * 12))
    assert (caught.value.num_tokens, caught.value.max_tokens) == (12, 11)
    assert caught.value.field == "max_new_tokens"


@pytest.mark.parametrize(
    "name", ["max_num_seqs", "max_num_batched_tokens", "max_num_prompt_tokens_beside", "num_threads"]
)
def test_limit_below_one_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        EngineConfig(**{name: 0})
