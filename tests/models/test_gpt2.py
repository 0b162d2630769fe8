import random
from pathlib import Path
from typing import Any

import pytest
import torch

from gpt2svc.models.chunk import Chunk
from gpt2svc.models.folder import ModelFolder
from gpt2svc.models.gpt2 import GPT2
from gpt2svc.models.kv_store import KeyValueStore
from tests.fakes.checkpoints import random_gpt2, write_checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
CONFIGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "scaled by layer": {"scale_attn_by_inverse_layer_idx": True},
    "upcast attention": {"reorder_and_upcast_attn": True},
    "unscaled attention": {"scale_attn_weights": False},
    "gelu, narrow MLP": {"activation_function": "gelu", "n_inner": 100},
    "relu": {"activation_function": "relu"},
    "silu, untied head": {"activation_function": "silu", "tie_word_embeddings": False},
    "tanh, odd widths": {"activation_function": "tanh", "n_embd": 60, "n_head": 3, "vocab_size": 97},
    "one head, several key blocks": {"n_head": 1, "n_positions": 300, "layer_norm_epsilon": 1e-3},
}


def _load(tmp_path: Path, dtype: torch.dtype = torch.float32, seed: int = 1, **config: Any) -> tuple[GPT2, Any]:
    reference = random_gpt2(seed, **config)
    folder = ModelFolder.open(write_checkpoint(tmp_path, reference))
    return GPT2.from_folder(folder, CPU, dtype), reference


def _tokens(model: GPT2, count: int, seed: int = 0) -> list[int]:
    rng = random.Random(seed)
    return [rng.randrange(model.vocab_size) for _ in range(count)]


def _one_by_one(model: GPT2, token_ids: list[int]) -> torch.Tensor:
    """Logits after each token, each computed alone: (len(token_ids), vocab_size)."""
    cache = model.new_cache(1)
    return torch.cat([model.forward([Chunk(0, i, [t], True)], cache) for i, t in enumerate(token_ids)])


@pytest.mark.parametrize("name", CONFIGS)
def test_logits_equal_those_of_transformers(name: str, tmp_path: Path) -> None:
    model, reference = _load(tmp_path, **CONFIGS[name])
    token_ids = _tokens(model, model.n_positions)
    with torch.no_grad():
        expected = reference(torch.tensor([token_ids])).logits[0]
    cache = model.new_cache(3)
    third = model.n_positions // 3
    model.forward([Chunk(1, 0, token_ids[:third], False)], cache)
    logits = [model.forward([Chunk(1, third, token_ids[third : 2 * third], True)], cache)]
    logits += [
        model.forward([Chunk(1, i, token_ids[i : i + 1], True)], cache) for i in range(2 * third, model.n_positions)
    ]
    torch.testing.assert_close(torch.cat(logits), expected[2 * third - 1 :], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bits_depend_on_neither_chunks_nor_neighbours_nor_slots(dtype: torch.dtype, tmp_path: Path) -> None:
    model, _ = _load(tmp_path, dtype, n_embd=128, n_head=4, n_layer=2, n_positions=400)
    rng = random.Random(5)
    prompts = [_tokens(model, length, seed=length) for length in (1, 3, 40, 127, 129, 260, 300)]
    alone = [_one_by_one(model, token_ids) for token_ids in prompts]
    for _ in range(2):
        cache = model.new_cache(24)
        slots = rng.sample(range(24), len(prompts))
        positions = [0] * len(prompts)
        while any(position < len(p) for position, p in zip(positions, prompts, strict=True)):
            chunks, expected = [], []
            for i, token_ids in enumerate(prompts):
                if positions[i] < len(token_ids) and rng.random() < 0.8:
                    end = min(len(token_ids), positions[i] + rng.choice([1, 1, 2, 5, 30, 128, 200]))
                    chunks.append(Chunk(slots[i], positions[i], token_ids[positions[i] : end], True))
                    expected.append(alone[i][end - 1])
                    positions[i] = end
            if chunks:
                assert torch.equal(model.forward(chunks, cache), torch.stack(expected))


def test_copied_prefix_continues_with_the_same_bits(tmp_path: Path) -> None:
    model, _ = _load(tmp_path, n_positions=300)
    token_ids = _tokens(model, 200)
    cache = model.new_cache(4)
    whole = model.forward([Chunk(0, 0, token_ids, True)], cache)
    cache.copy_prefix(0, 3, 150)
    model.forward([Chunk(0, 0, token_ids[::-1], False)], cache)  # the source goes on to other things
    assert torch.equal(model.forward([Chunk(3, 150, token_ids[150:], True)], cache), whole)


def test_slot_used_again_shows_nothing_of_its_past(tmp_path: Path) -> None:
    model, _ = _load(tmp_path)
    cache = model.new_cache(1)
    fresh = model.forward([Chunk(0, 0, [3, 4, 5], True)], cache)
    model.forward([Chunk(0, 0, _tokens(model, 90), False)], cache)
    assert torch.equal(model.forward([Chunk(0, 0, [3, 4, 5], True)], cache), fresh)


def test_slots_and_blocks_of_a_gpu_layout_give_the_same_logits(tmp_path: Path) -> None:
    model, _ = _load(tmp_path, n_positions=200)
    prompts = [_tokens(model, 150, seed=i) for i in range(6)]
    small = KeyValueStore(model.config, 6, CPU, torch.float32, block=32, initial_slots=1)
    for slot, token_ids in enumerate(prompts):
        model.forward([Chunk(slot, 0, token_ids[:-1], False)], small)
    assert small.capacity == 6
    logits = model.forward([Chunk(slot, 149, p[-1:], True) for slot, p in enumerate(prompts)], small)
    expected = torch.stack([_one_by_one(model, token_ids)[-1] for token_ids in prompts])
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)


def test_logits_come_only_for_sampled_chunks_in_their_order(tmp_path: Path) -> None:
    model, _ = _load(tmp_path)
    cache = model.new_cache(4)
    assert model.forward([Chunk(0, 0, [1, 2], False)], cache).shape == (0, model.vocab_size)
    chunks = [Chunk(3, 0, [7, 8, 9], True), Chunk(0, 2, [5], True), Chunk(1, 0, [4], False), Chunk(2, 0, [6], True)]
    logits = model.forward(chunks, cache)
    expected = [_one_by_one(model, ids)[-1] for ids in ([7, 8, 9], [1, 2, 5], [6])]
    assert torch.equal(logits, torch.stack(expected))


def test_bfloat16_stays_near_float32(tmp_path: Path) -> None:
    model, reference = _load(tmp_path, torch.bfloat16, n_embd=128)
    token_ids = _tokens(model, 80)
    with torch.no_grad():
        expected = reference(torch.tensor([token_ids])).logits[0].log_softmax(-1)
    logprobs = _one_by_one(model, token_ids).float().log_softmax(-1)
    assert (logprobs - expected).abs().mean() < 0.05


def test_memory_counts_weights_in_their_dtype(tmp_path: Path) -> None:
    model, reference = _load(tmp_path, torch.bfloat16)
    packed_head = 2 * model.vocab_size * model.config.n_embd
    assert model.num_bytes - packed_head == 2 * sum(p.numel() for p in reference.parameters())
