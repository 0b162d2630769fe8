"""Vectors of prompts, against the last hidden states of transformers' GPT2Model."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import GPT2LMHeadModel

from gpt2svc.engine.config import EngineConfig
from gpt2svc.engine.core import EngineCore
from gpt2svc.engine.sampling_params import SamplingParams
from gpt2svc.engine.types import EngineRequest, Pooling, Scoring, TokenOutput
from gpt2svc.errors import ContextWindowError, InvalidInputError
from gpt2svc.models.folder import ModelFolder
from gpt2svc.models.gpt2 import GPT2
from tests.engine.test_scoring import NOTHING, prompt_of, run
from tests.fakes.checkpoints import random_gpt2, write_checkpoint
from tests.fakes.model import HashModel


def vector_of(outputs: list[TokenOutput]) -> bytes:
    """Of a request that brought nothing else."""
    [output] = outputs
    assert output.finish_reason == "length"
    assert not output.token_ids
    assert output.pooled is not None
    return output.pooled


def test_vectors_equal_transformers_whatever_the_chunks_and_the_company(
    references: list[GPT2LMHeadModel], folders: list[ModelFolder], new_core: Callable[..., EngineCore]
) -> None:
    folder, reference = folders[0], references[0]
    prompts = [prompt_of(n, folder.config.vocab_size, n) for n in (1, 2, 7, 40, folder.config.n_positions)]
    found: list[dict[str, bytes]] = []
    for budget, slots in ((256, 8), (5, 3), (1, 1)):
        core = new_core(folder, max_num_seqs=slots, max_num_batched_tokens=budget)
        written = EngineRequest("written", prompts[2], SamplingParams(seed=3, max_new_tokens=20))
        scored = EngineRequest("scored", prompts[3], NOTHING, scoring=Scoring(num_next=1))
        means = [EngineRequest(f"mean{i}", p, NOTHING, pooling=Pooling("mean")) for i, p in enumerate(prompts)]
        lasts = [EngineRequest(f"last{i}", p, NOTHING, pooling=Pooling("last")) for i, p in enumerate(prompts)]
        outputs = run(core, written, *means, scored, *lasts)
        assert sum(len(output.token_ids) for output in outputs["written"]) == 20
        assert outputs["scored"][-1].next_token is not None
        found.append({request.request_id: vector_of(outputs[request.request_id]) for request in (*means, *lasts)})
        assert core.stats.num_free_slots == core.stats.num_slots
    assert found[0] == found[1] == found[2]  # bit for bit
    for i, prompt in enumerate(prompts):
        with torch.no_grad():
            hidden = reference.transformer(torch.tensor([prompt])).last_hidden_state[0]
        mean, last = (np.frombuffer(found[0][f"{kind}{i}"], "<f4") for kind in ("mean", "last"))
        assert mean == pytest.approx(hidden.mean(0).numpy(), abs=1e-5)
        assert last == pytest.approx(hidden[-1].numpy(), abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bits_are_those_of_a_prompt_alone_in_one_piece(wide_folder: ModelFolder, dtype: torch.dtype) -> None:
    model = GPT2.from_folder(wide_folder, torch.device("cpu"), dtype)
    prompts = [prompt_of(n, wide_folder.config.vocab_size, n) for n in (3, 130, 301, 600)]
    found = []
    for budget, slots in ((600, 1), (33, 4), (129, 3)):
        core = EngineCore(model, EngineConfig(max_num_seqs=slots, max_num_batched_tokens=budget))
        requests = [EngineRequest(str(i), prompt, NOTHING, pooling=Pooling()) for i, prompt in enumerate(prompts)]
        outputs = run(core, *requests)
        found.append([vector_of(outputs[request.request_id]) for request in requests])
    assert found[0] == found[1] == found[2]


def test_mean_reads_everything_anew_and_the_last_token_only_itself(
    folders: list[ModelFolder], new_core: Callable[..., EngineCore]
) -> None:
    core = new_core(folders[0])
    prompt = prompt_of(40, folders[0].config.vocab_size)
    fresh = run(core, EngineRequest("a", prompt, NOTHING, pooling=Pooling("mean")))["a"]
    again = run(core, EngineRequest("a", prompt, NOTHING, pooling=Pooling("mean")))["a"]
    assert again[-1].num_cached_tokens == 0
    assert vector_of(again) == vector_of(fresh)
    last = run(core, EngineRequest("a", prompt, NOTHING, pooling=Pooling("last")))["a"]
    assert last[-1].num_cached_tokens == 39
    other = new_core(folders[0])
    assert vector_of(last) == vector_of(run(other, EngineRequest("a", prompt, NOTHING, pooling=Pooling("last")))["a"])


def test_aborted_prompt_leaves_nothing_to_the_next_of_its_name(
    folders: list[ModelFolder], new_core: Callable[..., EngineCore]
) -> None:
    core = new_core(folders[0], max_num_batched_tokens=8)
    prompt = prompt_of(30, folders[0].config.vocab_size)
    expected = vector_of(run(core, EngineRequest("a", prompt, NOTHING, pooling=Pooling()))["a"])
    core.add_request(EngineRequest("a", prompt, NOTHING, pooling=Pooling()))
    core.step()
    core.abort("a")
    assert [output.finish_reason for output in core.step()] == ["abort"]
    assert vector_of(run(core, EngineRequest("a", prompt, NOTHING, pooling=Pooling()))["a"]) == expected


def test_what_cannot_be_pooled_is_refused_by_name() -> None:
    core = EngineCore(HashModel(n_positions=16), EngineConfig())
    prompt = tuple(range(8))
    for params, scoring in ((SamplingParams(seed=0, max_new_tokens=3), None), (NOTHING, Scoring())):
        with pytest.raises(InvalidInputError) as refusal:
            core.add_request(EngineRequest("a", prompt, params, scoring=scoring, pooling=Pooling()))
        assert refusal.value.field == "pooling"
    with pytest.raises(ContextWindowError):
        core.add_request(EngineRequest("a", tuple(range(17)), NOTHING, pooling=Pooling()))
    assert not core.has_work


def test_vector_that_is_no_number_ends_the_request(new_core: Callable[..., EngineCore], tmp_path: Path) -> None:
    damaged = random_gpt2()
    damaged.transformer.ln_f.weight.data[3] = torch.nan
    core = new_core(ModelFolder.open(write_checkpoint(tmp_path / "model", damaged)))
    outputs = run(core, EngineRequest("a", (1, 2, 3), NOTHING, pooling=Pooling()))["a"]
    assert outputs[-1].finish_reason == "error"
    assert outputs[-1].pooled is None
    assert "not a number" in (outputs[-1].error or "")
