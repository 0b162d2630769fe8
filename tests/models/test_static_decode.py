import random
from pathlib import Path
from typing import Any

import pytest
import torch

from gpt2svc.models.chunk import Chunk
from gpt2svc.models.folder import ModelFolder
from gpt2svc.models.gpt2 import GPT2
from gpt2svc.models.graph_runner import GraphRunner
from gpt2svc.models.static_decode import DecodeShape, StaticDecode, lane_counts, length_of
from gpt2svc.models.window_store import WindowStore
from tests.fakes.checkpoints import random_gpt2, write_checkpoint
from tests.fakes.graph_recorder import GraphRecorder

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> GPT2:
    return _load(tmp_path_factory.mktemp("model"))


def _load(path: Path, **config: Any) -> GPT2:
    folder = ModelFolder.open(write_checkpoint(path, random_gpt2(1, n_positions=600, **config)))
    return GPT2.from_folder(folder, CPU, torch.float32)


def _decode(
    model: GPT2, num_slots: int = 8, initial_slots: int = 8, recorder: GraphRecorder | None = None
) -> StaticDecode:
    store = WindowStore(model.config, num_slots, CPU, torch.float32, initial_slots=initial_slots)
    return StaticDecode(model, store, GraphRunner(recorder))


def _token(slot: int, position: int) -> int:
    return random.Random(1000 * slot + position).randrange(211)


@torch.inference_mode()
def _compare(model: GPT2, decode: StaticDecode, steps: list[list[int]]) -> None:
    """Each step decodes the next token of these slots; the ordinary forward does the same over its own cache."""
    cache = model.new_cache(decode.store.num_slots)
    lengths = dict.fromkeys(range(decode.store.num_slots), 0)
    for slots in steps:
        chunks = [Chunk(slot, lengths[slot], [_token(slot, lengths[slot])], True) for slot in slots]
        torch.testing.assert_close(decode.logits(chunks), model.forward(chunks, cache), rtol=1e-4, atol=1e-4)
        for slot in slots:
            lengths[slot] += 1


@pytest.mark.parametrize("has_recorder", [True, False])
def test_logits_are_those_of_the_ordinary_forward_for_any_slots(model: GPT2, has_recorder: bool) -> None:
    rng = random.Random(2)
    recorder = GraphRecorder() if has_recorder else None
    steps = [rng.sample(range(8), rng.randint(1, 8)) for _ in range(40)]
    _compare(model, _decode(model, recorder=recorder), steps)
    assert recorder is None or recorder.events.count("replay") > recorder.events.count("warm up")


def test_growing_store_makes_graphs_void(model: GPT2) -> None:
    recorder = GraphRecorder()
    decode = _decode(model, initial_slots=1, recorder=recorder)
    steps = [[0]] * 4 + [[0, 1]] * 4 + [[0]] * 3 + [[0, 5, 1]] * 4 + [[1, 0]] * 3
    _compare(model, decode, steps)
    assert decode.store.capacity == 6
    assert recorder.events.count("release") == 2
    assert recorder.events.count("replay") == 3 + 3 + 2 + 3 + 2


@torch.inference_mode()
def test_longer_sequences_take_the_next_length_and_stay_right(model: GPT2) -> None:
    decode, cache = _decode(model, recorder=GraphRecorder()), model.new_cache(8)
    for slot in (0, 3):
        for i in range(0, 510, 30):
            chunk = Chunk(slot, i, [_token(slot, j) for j in range(i, i + 30)], False)
            model.forward([chunk], cache)
    for layer in range(model.config.n_layer):
        for block in range(4):
            keys, values = cache.block_views(block, 0, 4)[layer]
            places = slice(block * 128, block * 128 + 128)
            own_keys, own_values = decode.store.keys_and_values(layer)
            own_keys[:4, :, places] = keys.transpose(1, 2).unflatten(0, (4, 4))
            own_values[:4, :, places] = values.unflatten(0, (4, 4))
    for position in range(510, 518):
        chunks = [Chunk(slot, position, [_token(slot, position)], True) for slot in (3, 0)]
        expected = model.forward(chunks, cache)
        torch.testing.assert_close(decode.logits(chunks), expected, rtol=1e-4, atol=1e-4)
    assert decode.shape_of(chunks) == DecodeShape(2, 608, is_slot_by_slot=False)


@torch.inference_mode()
def test_idle_lanes_write_to_the_scratch_slot_only(model: GPT2) -> None:
    decode = _decode(model)
    for chunks in ([Chunk(s, 0, [5], True) for s in (0, 1, 2)], [Chunk(s, 0, [5], True) for s in (5, 6, 7)]):
        before = [tensor.clone() for tensor in decode.store.keys_and_values(1)]
        decode.logits(chunks)
        for old, new in zip(before, decode.store.keys_and_values(1), strict=True):
            changed = (old != new).flatten(2).any(2).any(1).nonzero().flatten().tolist()
            assert set(changed) - {decode.store.scratch_slot} == {chunk.slot for chunk in chunks}
            assert torch.equal(old[..., 1:, :], new[..., 1:, :])


@torch.inference_mode()
def test_lane_is_not_changed_by_what_its_neighbours_hold(model: GPT2) -> None:
    decode = _decode(model, recorder=GraphRecorder())
    alone = []
    for position in range(6):
        chunks = [Chunk(1, position, [_token(1, position)], True), Chunk(0, 0, [9], True)]
        alone.append(decode.logits(chunks)[0])
    for position in range(6):
        others = [Chunk(0, position, [_token(7, position)], True)]
        logits = decode.logits([*others, Chunk(1, position, [_token(1, position)], True)])
        assert torch.equal(logits[1], alone[position])


@torch.inference_mode()
def test_logits_come_for_those_who_ask_in_their_order_and_last(model: GPT2) -> None:
    decode = _decode(model)
    chunks = [Chunk(6, 0, [1], True), Chunk(2, 0, [2], False), Chunk(4, 0, [3], False, num_scored=1)]
    logits = decode.logits(chunks)
    kept = logits.clone()
    expected = model.forward(chunks, model.new_cache(8))
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
    decode.logits([Chunk(1, 0, [77], True)])
    assert torch.equal(logits, kept)
    assert decode.logits([Chunk(0, 0, [1], False)]).shape == (0, model.vocab_size)


def test_shapes_are_few_and_slots_in_a_row_are_read_in_place(model: GPT2) -> None:
    assert lane_counts(1) == [1]
    assert lane_counts(6) == [1, 2, 4, 6]
    assert lane_counts(256) == [1, 2, 4, 8, 16, 32, 64, 128, 256]
    assert [length_of(n, 1024) for n in (1, 256, 257, 1000, 1024)] == [256, 256, 512, 1024, 1024]
    assert length_of(3, 96) == 96
    decode = _decode(model, num_slots=8, initial_slots=5)

    def shape(slots: list[int]) -> DecodeShape:
        return decode.shape_of([Chunk(slot, 3, [1], True) for slot in slots])

    assert shape([0]) == DecodeShape(1, 256, is_slot_by_slot=True)
    assert shape([1]) == DecodeShape(1, 256, is_slot_by_slot=False)
    assert shape([3, 0, 1]) == DecodeShape(4, 256, is_slot_by_slot=True)
    assert shape([0, 1, 2, 3, 4]) == DecodeShape(8, 256, is_slot_by_slot=False)  # there is no memory for eight yet
