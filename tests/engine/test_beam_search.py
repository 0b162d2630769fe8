"""Beam search against `generate` of transformers, token for token, and as a request among others."""

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import GPT2LMHeadModel

from gpt2svc.engine.config import EngineConfig
from gpt2svc.engine.core import EngineCore
from gpt2svc.engine.sampling_params import SamplingParams
from gpt2svc.engine.types import EngineRequest, TokenOutput
from gpt2svc.errors import InvalidInputError
from gpt2svc.models.folder import ModelFolder
from gpt2svc.models.gpt2 import GPT2
from tests.fakes.model import HashModel

PAD = 1  # never sampled: its logit is lowered in every request. 0 would be taken for none


def _run(core: EngineCore, requests: list[EngineRequest]) -> dict[str, list[TokenOutput]]:
    outputs: dict[str, list[TokenOutput]] = {request.request_id: [] for request in requests}
    for request in requests:
        core.add_request(request)
    while core.has_work:
        for output in core.step():
            outputs[output.request_id].append(output)
        core.check_integrity()
    assert core.stats.num_free_slots == core.stats.num_slots
    return outputs


def _token_ids(outputs: list[TokenOutput]) -> tuple[int, ...]:
    return tuple(token_id for output in outputs for token_id in output.token_ids)


def _settings(rng: random.Random, vocab_size: int) -> dict[str, Any]:
    num_beams = rng.choice([2, 3, 4, 5])
    max_new = rng.choice([1, 6, 15])
    return {
        "num_beams": num_beams,
        "num_return_sequences": rng.randint(1, num_beams),
        "max_new_tokens": max_new,
        "min_new_tokens": min(max_new, rng.choice([0, 0, 4])),
        "length_penalty": rng.choice([0.0, 1.0, -0.7, 2.0]),
        "early_stopping": rng.choice([True, False, "never"]),
        "repetition_penalty": rng.choice([1.0, 1.3]),
        "no_repeat_ngram_size": rng.choice([0, 0, 2]),
        "stop_token_ids": tuple(rng.randrange(2, vocab_size) for _ in range(rng.choice([1, 2, 12]))),
        "logit_bias": ((PAD, -100.0), (rng.randrange(2, vocab_size), 2.0)),
    }


def _expected(reference: GPT2LMHeadModel, prompt: list[int], settings: dict[str, Any]) -> list[tuple[list[int], float]]:
    given = {**settings, "eos_token_id": list(settings["stop_token_ids"]), "pad_token_id": PAD}
    del given["stop_token_ids"]
    given["sequence_bias"] = [[[token_id], bias] for token_id, bias in given.pop("logit_bias")]
    with torch.no_grad():
        output = reference.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones((1, len(prompt)), dtype=torch.long),
            do_sample=False,
            return_dict_in_generate=True,
            output_scores=True,
            **given,
        )
    replies = [[t for t in row[len(prompt) :] if t != PAD] for row in output.sequences.tolist()]
    return list(zip(replies, output.sequences_scores.tolist(), strict=True))


def test_beams_equal_those_of_transformers(
    references: list[GPT2LMHeadModel], folders: list[ModelFolder], new_core: Callable[..., EngineCore]
) -> None:
    """All at once, so that searches wait for slots, prompts come in chunks and rows of many requests share a step."""
    rng = random.Random(0)
    for reference, folder in zip(references, folders, strict=True):
        vocab_size = folder.config.vocab_size
        requests, expected = [], {}
        for i in range(24):
            prompt = [rng.randrange(2, vocab_size) for _ in range(rng.choice([1, 2, 5, 30]))]
            settings = _settings(rng, vocab_size)
            expected[str(i)] = _expected(reference, prompt, settings)
            requests.append(EngineRequest(str(i), tuple(prompt), SamplingParams(seed=i, **settings)))
        core = new_core(folder, max_num_seqs=12, max_num_batched_tokens=24)
        for name, outputs in _run(core, requests).items():
            hypotheses = outputs[-1].hypotheses
            assert hypotheses is not None
            assert [list(each.token_ids) for each in hypotheses] == [reply for reply, _ in expected[name]]
            scores = [score for _, score in expected[name]]
            assert [each.score for each in hypotheses] == pytest.approx(scores, abs=1e-4)
            assert _token_ids(outputs) == hypotheses[0].token_ids
            assert outputs[-1].finish_reason == hypotheses[0].finish_reason


def _mixed(vocab_size: int) -> list[EngineRequest]:
    """Searches and sampled requests, some of one owner with the same beginning."""
    rng = random.Random(5)
    begin = [rng.randrange(vocab_size) for _ in range(150)]
    requests = []
    for i in range(8):
        prompt = (*begin[: rng.choice([20, 130, 150])], i)
        params = SamplingParams(seed=i, max_new_tokens=10, logprobs=1, repetition_penalty=1.2, stop_token_ids=(7, 8))
        if i % 2:
            num_beams = 2 + i // 2
            values = {name: getattr(params, name) for name in params.__slots__}
            params = SamplingParams(**{**values, "num_beams": num_beams, "num_return_sequences": num_beams})
        requests.append(EngineRequest(str(i), prompt, params, owner=f"owner {i % 3}"))
    return requests


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_search_has_the_bits_among_others_that_it_has_alone(wide_folder: ModelFolder, dtype: torch.dtype) -> None:
    model = GPT2.from_folder(wide_folder, torch.device("cpu"), dtype)
    requests = _mixed(model.vocab_size)
    alone = {}
    for request in requests:
        config = EngineConfig(max_num_seqs=8, max_num_batched_tokens=512, is_prefix_reuse_enabled=False)
        alone.update(_run(EngineCore(model, config), [request]))
    for rows in (9, 64):
        together = _run(EngineCore(model, EngineConfig(max_num_seqs=8, max_num_batched_tokens=rows)), requests)
        for request in requests:
            mine, expected = together[request.request_id], alone[request.request_id]
            assert _token_ids(mine) == _token_ids(expected)
            assert [e for o in mine for e in o.logprobs or ()] == [e for o in expected for e in o.logprobs or ()]
            assert mine[-1].hypotheses == expected[-1].hypotheses


def test_logprobs_are_the_models_own_of_each_token(wide_folder: ModelFolder, references: list[GPT2LMHeadModel]) -> None:
    model = GPT2.from_folder(wide_folder, torch.device("cpu"), torch.float32)
    reference = GPT2LMHeadModel.from_pretrained(wide_folder.path)
    params = SamplingParams(
        seed=0, max_new_tokens=8, num_beams=3, num_return_sequences=3, logprobs=2, repetition_penalty=1.5
    )
    [outputs] = _run(EngineCore(model, EngineConfig(max_num_seqs=3)), [EngineRequest("a", (5, 6), params)]).values()
    for hypothesis in outputs[-1].hypotheses or ():
        with torch.no_grad():
            logits = reference(torch.tensor([[5, 6, *hypothesis.token_ids]])).logits[0]
        rows = logits[1:-1].log_softmax(-1)
        assert hypothesis.logprobs is not None
        for row, token_id, entry in zip(rows, hypothesis.token_ids, hypothesis.logprobs, strict=True):
            assert entry.logprob == pytest.approx(row[token_id].item(), abs=1e-4)
            assert [token for token, _ in entry.top] == row.topk(2).indices.tolist()
    assert tuple(e for o in outputs for e in o.logprobs or ()) == (outputs[-1].hypotheses or ())[0].logprobs


def test_stream_tells_what_is_certain_before_the_end(wide_folder: ModelFolder) -> None:
    core = EngineCore(GPT2.from_folder(wide_folder, torch.device("cpu"), torch.float32), EngineConfig(max_num_seqs=16))
    params = SamplingParams(seed=0, max_new_tokens=40, num_beams=2, no_repeat_ngram_size=2, repetition_penalty=1.0)
    found = _run(core, [EngineRequest(str(i), (i, 5), params) for i in range(12)])
    for outputs in found.values():
        assert _token_ids(outputs) == (outputs[-1].hypotheses or ())[0].token_ids
    assert max(len(outputs) for outputs in found.values()) > 3


def test_search_after_the_beginning_of_a_reply_is_that_after_a_longer_prompt(wide_folder: ModelFolder) -> None:
    core = EngineCore(GPT2.from_folder(wide_folder, torch.device("cpu"), torch.float32), EngineConfig(max_num_seqs=8))
    plain = {"seed": 0, "num_beams": 3, "num_return_sequences": 3, "repetition_penalty": 1.3, "stop_token_ids": (7, 8)}
    whole = EngineRequest("a", (5, 6, 20, 21), SamplingParams(max_new_tokens=10, min_new_tokens=2, **plain))  # type: ignore[arg-type]
    rest = EngineRequest(
        "b",
        (5, 6, 20, 21),
        SamplingParams(max_new_tokens=12, min_new_tokens=4, **plain),  # type: ignore[arg-type]
        num_reply_tokens=2,
    )
    found = _run(core, [whole, rest])
    assert found["a"][-1].hypotheses == found["b"][-1].hypotheses


def _beams(num_beams: int = 3, **settings: Any) -> SamplingParams:
    given = {"seed": 0, "max_new_tokens": 12, "repetition_penalty": 1.0, **settings}
    return SamplingParams(num_beams=num_beams, **given)


def test_abort_in_any_step_frees_all_slots() -> None:
    for num_steps in range(14):
        core = EngineCore(HashModel(), EngineConfig(max_num_seqs=4, max_num_batched_tokens=4))
        core.add_request(EngineRequest("a", tuple(range(9)), _beams()))
        core.add_request(EngineRequest("b", (1, 2), _beams(1, temperature=0)))
        outputs = [output for _ in range(num_steps) for output in core.step()]
        core.abort("a")
        core.check_integrity()
        while core.has_work:
            outputs += core.step()
            core.check_integrity()
        ends = {output.request_id: output.finish_reason for output in outputs if output.finish_reason}
        assert ends == {"a": "abort", "b": "length"}
        assert core.stats.num_free_slots == 4


def test_prompt_is_read_once_and_only_the_changed_part_is_copied() -> None:
    model = HashModel()
    core = EngineCore(model, EngineConfig(max_num_seqs=3, max_num_batched_tokens=4))
    core.add_request(EngineRequest("a", tuple(range(9)), _beams(max_new_tokens=8)))
    while core.has_work:
        core.step()
    rows = [count for call in model.calls for _, _, count in call]
    assert rows == [4, 4, 1] + [1] * (3 * 7)


def test_next_turn_reuses_the_best_beam() -> None:
    core = EngineCore(HashModel(), EngineConfig(max_num_seqs=3))
    [first] = _run(core, [EngineRequest("a", (1, 2, 3), _beams(), owner="ann")]).values()
    prompt = (1, 2, 3, *_token_ids(first), 5)
    [second] = _run(core, [EngineRequest("b", prompt, _beams(1, temperature=0), owner="ann")]).values()
    assert second[-1].num_cached_tokens == len(prompt) - 2  # all that was computed


def test_step_that_fails_ends_the_search_and_frees_its_slots() -> None:
    core = EngineCore(HashModel(poison=5), EngineConfig(max_num_seqs=4))
    [outputs] = _run(core, [EngineRequest("a", (1, 5), _beams())]).values()
    assert [output.finish_reason for output in outputs] == ["error"]
    [outputs] = _run(core, [EngineRequest("b", (1, 2), _beams())]).values()
    assert outputs[-1].finish_reason == "length"


def test_model_that_is_no_number_ends_only_its_search() -> None:
    core = EngineCore(HashModel(numbing=5), EngineConfig(max_num_seqs=8))
    found = _run(core, [EngineRequest("a", (1, 5), _beams()), EngineRequest("b", (1, 2), _beams())])
    assert found["a"][-1].finish_reason == "error"
    assert "not a number" in str(found["a"][-1].error)
    assert found["b"][-1].finish_reason == "length"


def test_bans_on_every_token_say_so() -> None:
    every = tuple(range(HashModel().vocab_size))
    params = _beams(min_new_tokens=3, stop_token_ids=every)
    [outputs] = _run(EngineCore(HashModel(), EngineConfig(max_num_seqs=3)), [EngineRequest("a", (1,), params)]).values()
    assert outputs[-1].error == "The settings leave no token to choose from."


def test_search_gets_its_slots_in_its_turn_and_is_not_overtaken() -> None:
    core = EngineCore(HashModel(), EngineConfig(max_num_seqs=3))
    greedy = _beams(1, temperature=0, max_new_tokens=6)
    core.add_request(EngineRequest("first", (1,), greedy, owner="ann"))
    core.step()
    core.add_request(EngineRequest("search", (2,), _beams(max_new_tokens=3), owner="bob"))
    ends = []
    for i in range(30):
        if i < 10:  # somebody new each time, whose turn would always come before
            core.add_request(EngineRequest(f"late {i}", (3,), greedy, owner=f"late {i}"))
        ends += [output.request_id for output in core.step() if output.finish_reason]
    assert ends[:2] == ["first", "search"]


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"num_beams": 5}, "num_beams"),
        ({"num_beams": 0}, "num_beams"),
        ({"num_beams": 4, "num_beam_groups": 3}, "num_beam_groups"),
        ({"num_beams": 4, "diversity_penalty": 0.5}, "diversity_penalty"),
        ({"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": -1.0}, "diversity_penalty"),
        ({"num_beams": 2, "length_penalty": float("nan")}, "length_penalty"),
        ({"num_beams": 2, "early_stopping": "soon"}, "early_stopping"),
        ({"num_beams": 2, "num_return_sequences": 3}, "num_return_sequences"),
    ],
)
def test_impossible_searches_are_refused_by_field(settings: dict[str, Any], field: str) -> None:
    core = EngineCore(HashModel(), EngineConfig(max_num_seqs=4))
    with pytest.raises(InvalidInputError) as caught:
        core.add_request(EngineRequest("a", (1,), _beams(**settings)))
    assert caught.value.field == field
    assert not core.has_work
