"""What the engine tells of a prompt, against log_softmax of transformers' logits."""

import math
import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import GPT2LMHeadModel

from gpt2svc.engine.config import EngineConfig
from gpt2svc.engine.core import EngineCore
from gpt2svc.engine.sampling_params import SamplingParams
from gpt2svc.engine.types import EngineRequest, NextToken, Scoring, TokenLogprobs, TokenOutput
from gpt2svc.errors import ContextWindowError, InvalidInputError
from gpt2svc.models.folder import ModelFolder
from tests.fakes.model import HashModel

NOTHING = SamplingParams(seed=0, max_new_tokens=0)


def run(core: EngineCore, *requests: EngineRequest) -> dict[str, list[TokenOutput]]:
    for request in requests:
        core.add_request(request)
    outputs: dict[str, list[TokenOutput]] = {request.request_id: [] for request in requests}
    while core.has_work:
        for output in core.step():
            outputs[output.request_id].append(output)
        core.check_integrity()
    return outputs


def scores_of(outputs: list[TokenOutput]) -> list[TokenLogprobs]:
    return [each for output in outputs for each in output.prompt_logprobs or ()]


def next_of(outputs: list[TokenOutput]) -> NextToken:
    [found] = [output.next_token for output in outputs if output.next_token is not None]
    return found


def prompt_of(length: int, vocab_size: int, seed: int = 0) -> tuple[int, ...]:
    rng = random.Random(seed)
    return tuple(rng.randrange(vocab_size) for _ in range(length))


def expected(reference: GPT2LMHeadModel, prompt: tuple[int, ...]) -> torch.Tensor:
    with torch.no_grad():
        return torch.log_softmax(reference(torch.tensor([prompt])).logits[0].float(), -1)


def test_scores_equal_transformers_whatever_the_chunks_and_the_company(
    references: list[GPT2LMHeadModel], folders: list[ModelFolder], new_core: Callable[..., EngineCore]
) -> None:
    folder, reference = folders[0], references[0]
    window = folder.config.n_positions
    prompts = [prompt_of(n, folder.config.vocab_size, n) for n in (1, 2, 7, 40, window)]
    alone: list[list[TokenLogprobs]] = []
    for budget in (256, 5):
        core = new_core(folder, max_num_seqs=4, max_num_batched_tokens=budget)
        scored = [
            EngineRequest(str(i), prompt, NOTHING, scoring=Scoring(num_top=3, num_next=4))
            for i, prompt in enumerate(prompts)
        ]
        written = EngineRequest("written", prompts[2], SamplingParams(seed=3, max_new_tokens=20))
        outputs = run(core, written, *scored)
        for i, prompt in enumerate(prompts):
            logprobs = expected(reference, prompt)
            found = scores_of(outputs[str(i)])
            assert len(found) == len(prompt) - 1
            for position, score in enumerate(found):
                row = logprobs[position]
                assert score.logprob == pytest.approx(row[prompt[position + 1]].item(), abs=2e-4)
                assert [value for _, value in score.top] == pytest.approx(row.topk(3).values.tolist(), abs=2e-4)
            following = next_of(outputs[str(i)])
            assert [value for _, value in following.top] == pytest.approx(
                logprobs[-1].topk(4).values.tolist(), abs=2e-4
            )
            entropy = -(logprobs[-1].exp() * logprobs[-1]).sum().item()
            assert following.entropy == pytest.approx(entropy, abs=1e-3)
            assert outputs[str(i)][-1].finish_reason == "length"
            assert all(not output.token_ids for output in outputs[str(i)])
        alone.append([score for i in range(len(prompts)) for score in scores_of(outputs[str(i)])])
        assert core.stats.num_free_slots == core.stats.num_slots
    assert alone[0] == alone[1]  # bit for bit


def test_distribution_is_the_whole_vocabulary_in_float32(
    references: list[GPT2LMHeadModel], folders: list[ModelFolder], new_core: Callable[..., EngineCore]
) -> None:
    prompt = prompt_of(30, folders[0].config.vocab_size)
    scoring = Scoring(start=len(prompt), has_distribution=True)
    outputs = run(new_core(folders[0]), EngineRequest("a", prompt, NOTHING, scoring=scoring))["a"]
    assert scores_of(outputs) == []
    distribution = next_of(outputs).distribution
    assert distribution is not None
    values = np.frombuffer(distribution, "<f4")
    assert values.shape == (folders[0].config.vocab_size,)
    assert values == pytest.approx(expected(references[0], prompt)[-1].numpy(), abs=2e-4)
    assert np.exp(values.astype(float)).sum() == pytest.approx(1.0, abs=1e-5)


def test_only_what_is_scored_is_computed_anew() -> None:
    model = HashModel()
    core = EngineCore(model, EngineConfig())
    prompt = tuple(range(20))
    run(core, EngineRequest("a", prompt, SamplingParams(seed=0, temperature=0, max_new_tokens=4)))
    for start, num_cached in ((20, 19), (15, 14), (1, 0)):
        outputs = run(core, EngineRequest("b", prompt, NOTHING, scoring=Scoring(start, num_next=1)))["b"]
        assert outputs[-1].num_cached_tokens == num_cached
        assert len(scores_of(outputs)) == 20 - start


def test_prompt_can_be_scored_and_continued_in_one_request(
    folders: list[ModelFolder], new_core: Callable[..., EngineCore]
) -> None:
    prompt = prompt_of(12, folders[0].config.vocab_size)
    params = SamplingParams(seed=0, temperature=0, max_new_tokens=5, repetition_penalty=1.0, logprobs=2)
    core = new_core(folders[0], max_num_batched_tokens=5)
    outputs = run(core, EngineRequest("a", prompt, params, scoring=Scoring(num_top=2, num_next=1)))["a"]
    plain = run(new_core(folders[0]), EngineRequest("a", prompt, params))["a"]
    assert [output.token_ids for output in outputs if output.token_ids] == [output.token_ids for output in plain]
    assert len(scores_of(outputs)) == 11
    first = next(output for output in outputs if output.token_ids)
    assert first.logprobs is not None
    # The likeliest next token, as the prompt's scores have it, is the greedy choice with the same bits.
    assert next_of(outputs).top == ((first.token_ids[0], first.logprobs[0].logprob),)


def test_what_cannot_be_scored_is_refused_by_name() -> None:
    core = EngineCore(HashModel(n_positions=16), EngineConfig())
    prompt = tuple(range(8))
    for wrong in (
        Scoring(start=0),
        Scoring(start=9),
        Scoring(num_top=101),
        Scoring(num_top=-1),
        Scoring(num_next=-1),
    ):
        with pytest.raises(InvalidInputError):
            core.add_request(EngineRequest("a", prompt, NOTHING, scoring=wrong))
    with pytest.raises(InvalidInputError) as refusal:
        core.add_request(EngineRequest("a", prompt, NOTHING))  # neither scored nor continued
    assert refusal.value.field == "max_new_tokens"
    with pytest.raises(ContextWindowError):
        core.add_request(EngineRequest("a", tuple(range(17)), NOTHING, scoring=Scoring()))
    assert not core.has_work


def test_output_that_is_no_number_ends_the_request() -> None:
    core = EngineCore(HashModel(numbing=13), EngineConfig())
    outputs = run(core, EngineRequest("a", (1, 13, 2), NOTHING, scoring=Scoring()))["a"]
    assert outputs[-1].finish_reason == "error"
    assert "not a number" in (outputs[-1].error or "")
    params = replace(NOTHING, max_new_tokens=3, temperature=0)
    healthy = run(core, EngineRequest("b", (1, 2), params, scoring=Scoring()))["b"]
    assert healthy[-1].finish_reason == "length"
    assert all(math.isfinite(score.logprob) for score in scores_of(healthy))
