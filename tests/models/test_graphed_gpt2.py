"""The GPU path on a CPU, with a recorder that replays as a CUDA graph does."""

import gc
import random
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

from gpt2svc.models.chunk import Chunk
from gpt2svc.models.folder import ModelFolder
from gpt2svc.models.gpt1 import GPT1
from gpt2svc.models.gpt2 import GPT2
from gpt2svc.models.graphed_gpt2 import GraphedGPT2
from gpt2svc.models.quantization import Quantization
from gpt2svc.models.weights import WeightReader
from tests.fakes.checkpoints import random_gpt1, random_gpt2, write_checkpoint
from tests.fakes.graph_recorder import GraphRecorder
from tests.fakes.portable_weight_format import PortableWeightFormat

CPU = torch.device("cpu")
CONFIGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "scaled by layer": {"scale_attn_by_inverse_layer_idx": True},
    "odd widths, untied head": {"n_embd": 60, "n_head": 3, "vocab_size": 97, "tie_word_embeddings": False},
    "long window": {"n_positions": 601},
}


def _mix(model: GPT2 | GraphedGPT2, texts: list[list[int]], seed: int) -> list[torch.Tensor]:
    """Logits and hidden states of steps that read the texts, each in a slot of its own, in chunks of random lengths."""
    rng = random.Random(seed)
    cache: Any = model.new_cache(len(texts))
    done = [0] * len(texts)
    results = []
    while any(length < len(text) for length, text in zip(done, texts, strict=True)):
        is_decoding = rng.random() < 0.5
        chunks = []
        for slot in rng.sample(range(len(texts)), len(texts)):
            start, text = done[slot], texts[slot]
            if start == len(text) or rng.random() < 0.3:
                continue
            end = min(len(text), start + (1 if is_decoding else rng.choice([1, 2, 3, 17, 90])))
            num_pooled = 0 if is_decoding else rng.choice([0, end - start])
            chunks.append(Chunk(slot, start, text[start:end], rng.random() < 0.8, num_pooled=num_pooled))
            done[slot] = end
        if chunks and is_decoding:
            results.append(model.forward(chunks, cache))
        elif chunks:
            results += model.forward_with_hidden(chunks, cache)
    return results


def _texts(model: GPT2) -> list[list[int]]:
    rng = random.Random(3)
    lengths = (1, 2, 30, 60, model.n_positions // 3, model.n_positions)
    return [[rng.randrange(model.vocab_size) for _ in range(length)] for length in lengths]


def _compare(model: GPT2, *, tolerance: float = 1e-4) -> None:
    texts = _texts(model)
    expected = _mix(model, texts, seed=4)
    found = _mix(GraphedGPT2(model, GraphRecorder()), texts, seed=4)
    assert len(found) == len(expected) > 20
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", CONFIGS)
def test_mixed_steps_bring_what_the_ordinary_forward_brings(name: str, tmp_path: Path) -> None:
    folder = ModelFolder.open(write_checkpoint(tmp_path, random_gpt2(1, **CONFIGS[name])))
    _compare(GPT2.from_folder(folder, CPU, torch.float32))


def test_gpt1_takes_the_same_path(tmp_path: Path) -> None:
    config = {"vocab_size": 211, "n_positions": 96, "n_embd": 64, "n_layer": 3, "n_head": 4}
    random_gpt1(1, **config).save_pretrained(tmp_path)
    _compare(GPT1.from_folder(ModelFolder.open(tmp_path), CPU, torch.float32))


@pytest.mark.parametrize("quantize", ["int8", "int4"])
def test_weights_in_fewer_bits_are_captured_as_a_gpu_holds_them(quantize: Quantization, tmp_path: Path) -> None:
    folder = ModelFolder.open(write_checkpoint(tmp_path, random_gpt2(1)))
    with torch.inference_mode():
        model = GPT2(folder.config, WeightReader(folder, None), PortableWeightFormat(CPU, torch.float32, quantize))
    _compare(model)


def test_bfloat16_stays_near_float32(tmp_path: Path) -> None:
    folder = ModelFolder.open(write_checkpoint(tmp_path, random_gpt2(1, n_embd=128, spread=1.0)))
    whole = GPT2.from_folder(folder, CPU, torch.float32)
    expected = _mix(whole, _texts(whole), seed=4)
    halves = GraphedGPT2(GPT2.from_folder(folder, CPU, torch.bfloat16), GraphRecorder())
    found = _mix(halves, _texts(whole), seed=4)
    assert found[0].dtype == torch.bfloat16
    differences = torch.cat([(mine - theirs).flatten() for mine, theirs in zip(found, expected, strict=True)])
    values = torch.cat([tensor.flatten() for tensor in expected])
    assert differences.square().mean().sqrt() < 0.02 * values.square().mean().sqrt()


def test_each_cache_has_graphs_of_its_own(tmp_path: Path) -> None:
    folder = ModelFolder.open(write_checkpoint(tmp_path, random_gpt2(1)))
    model = GraphedGPT2(GPT2.from_folder(folder, CPU, torch.float32), GraphRecorder())
    first = model.new_cache(2)
    logits = [model.forward([Chunk(0, i, [i + 1], True)], first) for i in range(6)]
    second = model.new_cache(2)
    for i in range(6):
        assert torch.equal(model.forward([Chunk(0, i, [i + 1], True)], second), logits[i])
    assert torch.equal(model.forward([Chunk(0, 5, [6], True)], first), logits[5])


def test_new_cache_lets_the_one_before_go(tmp_path: Path) -> None:
    folder = ModelFolder.open(write_checkpoint(tmp_path, random_gpt2(1)))
    model = GraphedGPT2(GPT2.from_folder(folder, CPU, torch.float32), GraphRecorder())
    cache = model.new_cache(2)
    for i in range(3):
        model.forward([Chunk(0, i, [1], True)], cache)
    before = weakref.ref(cache)
    del cache
    model.new_cache(2)
    gc.collect()
    assert before() is None


def test_step_waits_for_nothing_and_stays_on_its_device(tmp_path: Path) -> None:
    """Tensors of the device "meta" have shapes only: to ask one for a number, or to mix it with others, fails."""
    folder = ModelFolder.open(write_checkpoint(tmp_path, random_gpt2(1)))
    model = GraphedGPT2(GPT2.from_folder(folder, torch.device("meta"), torch.bfloat16), None)
    cache = model.new_cache(9)
    prompt = Chunk(0, 0, [1] * 10, True)
    steps = [
        [prompt],
        [Chunk(0, 10, [1] * 9, False, num_scored=4), Chunk(6, 0, [2], True)],
        [Chunk(0, 19, [1], True), Chunk(1, 0, [2], True), Chunk(6, 1, [2], True)],
        [Chunk(6, 2, [1], True)],
    ]
    shapes = [model.forward(chunks, cache).shape for chunks in steps]
    assert shapes == [(1, 211), (5, 211), (3, 211), (1, 211)]
    _, hidden = model.forward_with_hidden([prompt._replace(num_pooled=10)], cache)
    assert (hidden.shape, hidden.device.type) == ((10, 64), "meta")
