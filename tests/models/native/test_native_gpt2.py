"""The compiled forward pass against transformers, against torch on quantised weights, and against itself."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from gpt2svc.engine.config import EngineConfig
from gpt2svc.engine.core import EngineCore
from gpt2svc.engine.generate import generate
from gpt2svc.engine.sampling_params import SamplingParams
from gpt2svc.models.chunk import Chunk
from gpt2svc.models.folder import ModelFolder
from gpt2svc.models.group_quantization import Groups, quantize_groups, restored
from gpt2svc.models.loading import load_model
from gpt2svc.models.native.gpt2 import NativeGPT2
from gpt2svc.models.native.library import NativeLibrary
from gpt2svc.models.native.structures import Kind
from gpt2svc.models.weights import WeightReader
from tests.fakes.checkpoints import random_gpt1, random_gpt2, write_checkpoint

SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {},
    "heads of 48, 80 inner, relu": {"n_embd": 96, "n_head": 2, "n_inner": 80, "activation_function": "relu"},
    "heads of 96, silu, untied": {
        "n_embd": 96,
        "n_head": 1,
        "activation_function": "silu",
        "tie_word_embeddings": False,
    },
    "tanh, scaled by layer": {"activation_function": "tanh", "scale_attn_by_inverse_layer_idx": True, "vocab_size": 33},
    "not scaled": {"scale_attn_weights": False, "n_positions": 90},
    "GPT-1": {"is_gpt1": True},
}


def reference_of(name: str) -> PreTrainedModel:
    shape = dict(SHAPES[name])
    return random_gpt1(5) if shape.pop("is_gpt1", False) else random_gpt2(5, **shape)


def opened(reference: PreTrainedModel, path: Path) -> ModelFolder:
    return ModelFolder.open(write_checkpoint(path, reference))


def native(
    folder: ModelFolder, library: NativeLibrary, kind: Kind = Kind.FLOAT32, *, num_threads: int = 2
) -> NativeGPT2:
    cache_dtype = torch.float32 if kind == Kind.FLOAT32 else torch.bfloat16
    return NativeGPT2(
        folder.config, WeightReader(folder), library, kind=kind, cache_dtype=cache_dtype, num_threads=num_threads
    )


def tokens(folder: ModelFolder, count: int) -> list[int]:
    torch.manual_seed(3)
    return torch.randint(0, folder.config.vocab_size, (count,)).tolist()


def all_logits(model: NativeGPT2, token_ids: list[int]) -> torch.Tensor:
    return model.forward([Chunk(0, 0, token_ids, False, num_scored=len(token_ids))], model.new_cache(1))


@pytest.mark.parametrize("name", SHAPES)
def test_logits_equal_transformers_at_every_position(name: str, library: NativeLibrary, tmp_path: Path) -> None:
    reference = reference_of(name)
    folder = opened(reference, tmp_path)
    token_ids = tokens(folder, folder.config.n_positions)
    with torch.no_grad():
        expected = reference(torch.tensor([token_ids])).logits[0]
    logits = all_logits(native(folder, library), token_ids)
    torch.testing.assert_close(logits, expected, atol=2e-4 * float(expected.abs().max()), rtol=0)


@pytest.mark.parametrize("level", [0, -1], ids=["best level", "plain level"])
def test_greedy_tokens_equal_transformers_alone_and_together(
    level: int, libraries: dict[str, NativeLibrary], tmp_path: Path
) -> None:
    reference = random_gpt2(6)
    folder = opened(reference, tmp_path)
    core = EngineCore(native(folder, list(libraries.values())[level]), EngineConfig(max_num_seqs=5))
    prompts = [tokens(folder, length) for length in (1, 3, 16, 17, 40)]
    params = SamplingParams(seed=0, temperature=0, repetition_penalty=1.0, max_new_tokens=40)
    together = generate(core, prompts, params)
    for prompt, result in zip(prompts, together, strict=True):
        ids = torch.tensor([prompt])
        expected = reference.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=40,
            eos_token_id=None,
            pad_token_id=0,
        )[0, len(prompt) :]
        assert list(result.token_ids) == expected.tolist()
        assert generate(core, [prompt], params)[0].token_ids == result.token_ids


@pytest.mark.parametrize("kind", [Kind.BFLOAT16, Kind.INT8, Kind.INT4])
@pytest.mark.parametrize("level", [0, -1], ids=["best level", "plain level"])
def test_fewer_bits_are_near_the_same_arithmetic_in_float32(
    kind: Kind, level: int, libraries: dict[str, NativeLibrary], tmp_path: Path
) -> None:
    """Against transformers on weights that were rounded as the kind rounds them: what is left are the activations."""
    reference = random_gpt2(7, spread=2.0, n_inner=80)
    folder = opened(reference, tmp_path)
    with torch.no_grad():
        for name, weight in reference.named_parameters():
            if weight.ndim != 2 or "wpe" in name:
                continue
            if kind == Kind.BFLOAT16:
                weight.copy_(weight.bfloat16().float())
                continue
            by_output = weight if "wte" in name else weight.t()
            by_output.copy_(
                four_bits(folder, name, by_output) if kind == Kind.INT4 and "wte" not in name else eight_bits(by_output)
            )
        token_ids = tokens(folder, 60)
        expected = reference(torch.tensor([token_ids])).logits[0]
    logits = all_logits(native(folder, list(libraries.values())[level], kind), token_ids)
    error = (logits - expected).pow(2).mean().sqrt() / expected.pow(2).mean().sqrt()
    assert 0 < error < (0.02 if kind == Kind.BFLOAT16 else 0.05)


def eight_bits(by_output: torch.Tensor) -> torch.Tensor:
    scale = by_output.abs().amax(1, keepdim=True) / 127
    return (by_output / scale).round() * scale


def four_bits(folder: ModelFolder, name: str, by_output: torch.Tensor) -> torch.Tensor:
    """As the groups stand for it. Queries are rounded with the scale of their scores, which can move ties."""
    num_out, num_in = by_output.shape
    scales = torch.ones(num_out, 1)
    if "c_attn" in name:
        scales[: folder.config.n_embd] = folder.config.head_dim**-0.5
    groups = quantize_groups(by_output * scales, torch.bfloat16)
    whole = Groups(groups.integers, groups.steps.float(), groups.middles.float())
    return restored(whole)[:, :num_in] / scales


def test_int4_is_near_torchs_int4(library: NativeLibrary, tmp_path: Path) -> None:
    """The same 4-bit weights; torch rounds its rows to bfloat16, the kernels to 8 bits with a scale a row."""
    folder = opened(random_gpt2(7, spread=2.0), tmp_path)
    token_ids = tokens(folder, 60)
    by_torch = load_model(folder, torch.device("cpu"), torch.float32, quantize="int4", library=None)
    chunk = Chunk(0, 0, token_ids, False, num_scored=60)
    expected = by_torch.forward([chunk], by_torch.new_cache(1))  # type: ignore[arg-type]
    logits = all_logits(native(folder, library, Kind.INT4), token_ids)
    error = (logits - expected).pow(2).mean().sqrt() / expected.pow(2).mean().sqrt()
    assert 0 < error < 0.02


def test_all_but_bfloat16_have_the_same_bits_on_every_level(
    libraries: dict[str, NativeLibrary], tmp_path: Path
) -> None:
    folder = opened(random_gpt2(8, n_inner=80), tmp_path)
    token_ids = tokens(folder, 70)
    for kind in (Kind.FLOAT32, Kind.INT8, Kind.INT4):
        first, *others = [all_logits(native(folder, library, kind), token_ids) for library in libraries.values()]
        for other in others:
            assert torch.equal(first, other)


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("level", [0, -1], ids=["best level", "plain level"])
def test_rows_have_the_same_bits_however_they_are_cut_and_in_any_company(
    kind: Kind, level: int, libraries: dict[str, NativeLibrary], tmp_path: Path
) -> None:
    library = list(libraries.values())[level]
    folder = opened(random_gpt2(9), tmp_path)
    token_ids = tokens(folder, 90)
    whole = all_logits(native(folder, library, kind, num_threads=1), token_ids)
    model = native(folder, library, kind, num_threads=3)
    cache = model.new_cache(3)
    pieces, start = [], 0
    for count in (1, 2, 3, 4, 5, 1, 16, 17, 1, 40):
        piece = token_ids[start : start + count]
        other = Chunk(0, start, piece[::-1], True)
        logits = model.forward([other, Chunk(2, start, piece, False, num_scored=count)], cache)
        pieces.append(logits[1:])
        start += count
    assert start == 90
    assert torch.equal(torch.cat(pieces), whole)


@pytest.mark.parametrize("kind", [Kind.FLOAT32, Kind.BFLOAT16])
def test_a_copied_prefix_continues_with_the_same_bits(kind: Kind, library: NativeLibrary, tmp_path: Path) -> None:
    folder = opened(random_gpt2(10), tmp_path)
    model = native(folder, library, kind)
    token_ids = tokens(folder, 60)
    expected = all_logits(model, token_ids)[-1:]
    cache = model.new_cache(4)
    model.forward([Chunk(1, 0, token_ids[:50], False), Chunk(2, 0, token_ids[:37], False)], cache)
    cache.copy_prefix(1, 3, 50)
    cache.copy_positions(1, 2, 37, 50)
    for slot in (3, 2):
        assert torch.equal(model.forward([Chunk(slot, 50, token_ids[50:], True)], cache), expected)


def test_copying_positions_leaves_all_others_alone(library: NativeLibrary, tmp_path: Path) -> None:
    folder = opened(random_gpt2(11), tmp_path)
    model = native(folder, library)
    one, other = tokens(folder, 64), tokens(folder, 64)[::-1]
    cache = model.new_cache(2)
    model.forward([Chunk(0, 0, one, False), Chunk(1, 0, other, False)], cache)
    before = model.forward([Chunk(1, 20, other[20:21], True)], cache)
    cache.copy_positions(0, 1, 21, 50)
    assert torch.equal(model.forward([Chunk(1, 20, other[20:21], True)], cache), before)
    cache.copy_positions(0, 1, 3, 5)
    assert not torch.equal(model.forward([Chunk(1, 20, other[20:21], True)], cache), before)


def test_hidden_states_are_those_of_transformers(library: NativeLibrary, tmp_path: Path) -> None:
    reference = random_gpt2(12)
    folder = opened(reference, tmp_path)
    model = native(folder, library)
    token_ids = tokens(folder, 33)
    _, hidden = model.forward_with_hidden([Chunk(0, 0, token_ids, False, num_pooled=33)], model.new_cache(1))
    with torch.no_grad():
        expected = reference.transformer(torch.tensor([token_ids])).last_hidden_state[0]
    torch.testing.assert_close(hidden, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("level", [0, -1], ids=["best level", "plain level"])
def test_an_overflow_shows_as_nan_in_its_own_row_only(
    kind: Kind, level: int, libraries: dict[str, NativeLibrary], tmp_path: Path
) -> None:
    write_checkpoint(tmp_path, random_gpt2(13))
    weights = load_file(tmp_path / "model.safetensors")
    weights["transformer.wpe.weight"][5] = np.inf
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    folder = ModelFolder.open(tmp_path)
    model = native(folder, list(libraries.values())[level], kind)
    cache = model.new_cache(2)
    token_ids = tokens(folder, 6)
    logits = model.forward([Chunk(0, 0, token_ids, True), Chunk(1, 0, token_ids[:5], True)], cache)
    assert logits[0].isnan().all()
    assert logits[1].isfinite().all()
