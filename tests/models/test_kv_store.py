import pytest
import torch

from gpt2svc.errors import ConfigError
from gpt2svc.models.config import GPT2Config
from gpt2svc.models.kv_store import KeyValueStore

CPU = torch.device("cpu")
CONFIG = GPT2Config(n_positions=40, n_embd=24, n_head=3, n_layer=2)


@pytest.fixture(params=[torch.float32, torch.bfloat16])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    """Keys lie transposed in one of them."""
    return request.param


def _store(dtype: torch.dtype, **options: int) -> KeyValueStore:
    return KeyValueStore(CONFIG, 5, CPU, dtype, block=16, **options)


def _write(store: KeyValueStore, slot: int, positions: range, value: float) -> None:
    places = store.places(torch.full((len(positions),), slot), torch.tensor(list(positions)))
    for layer in range(CONFIG.n_layer):
        rows = torch.full((len(positions), CONFIG.n_head, CONFIG.head_dim), value + layer, dtype=store.dtype)
        store.write(layer, places, rows, rows)


def _keys_and_values(store: KeyValueStore, slot: int) -> torch.Tensor:
    """(layers, heads, 2, positions, head_dim)"""
    layers = []
    for layer in range(CONFIG.n_layer):
        blocks = [store.block_views(b, slot, slot + 1)[layer] for b in range(store.num_blocks)]
        keys = torch.cat([k.transpose(1, 2) for k, _ in blocks], 1)
        layers.append(torch.stack((keys, torch.cat([v for _, v in blocks], 1)), 1))
    return torch.stack(layers)


def test_rows_land_in_their_slot_and_position_only(dtype: torch.dtype) -> None:
    store = _store(dtype)
    _write(store, 3, range(10, 20), 7.0)
    held = _keys_and_values(store, 3)
    assert held[0, :, :, 10:20].unique().tolist() == [7.0]
    assert held[1, :, :, 10:20].unique().tolist() == [8.0]
    held[:, :, :, 10:20] = 0
    assert not held.any()
    assert not any(_keys_and_values(store, slot).any() for slot in (0, 1, 2, 4))


def test_prefix_is_copied_and_its_source_kept(dtype: torch.dtype) -> None:
    store = _store(dtype)
    _write(store, 1, range(40), 3.0)
    store.copy_prefix(1, 4, 20)
    assert torch.equal(_keys_and_values(store, 4)[:, :, :, :20], _keys_and_values(store, 1)[:, :, :, :20])
    assert not _keys_and_values(store, 0).any()


def test_positions_are_copied_and_no_others(dtype: torch.dtype) -> None:
    store = _store(dtype)
    for start, end in ((3, 5), (0, 16), (10, 40), (31, 33)):  # within a block, a whole one, over several
        _write(store, 1, range(48), 3.0)
        _write(store, 4, range(48), 5.0)
        store.copy_positions(1, 4, start, end)
        held, source = _keys_and_values(store, 4), _keys_and_values(store, 1)
        assert torch.equal(held[..., start:end, :], source[..., start:end, :])
        held[..., start:end, :] = 0
        _write(store, 1, range(48), 5.0)
        expected = _keys_and_values(store, 1)
        expected[..., start:end, :] = 0
        assert torch.equal(held, expected)


def test_growth_keeps_what_was_written(dtype: torch.dtype) -> None:
    store = _store(dtype, initial_slots=1)
    _write(store, 0, range(40), 3.0)
    before = _keys_and_values(store, 0).clone()
    store.reserve(2)
    assert store.capacity == 2
    store.copy_prefix(0, 4, 40)
    assert store.capacity == 5
    assert torch.equal(_keys_and_values(store, 0), before)
    assert torch.equal(_keys_and_values(store, 4), before)


def test_size_is_that_of_all_slots(dtype: torch.dtype) -> None:
    size = 2 * 2 * 5 * 48 * 24 * dtype.itemsize
    assert _store(dtype).num_bytes == _store(dtype, initial_slots=1).num_bytes == size


def test_more_slots_than_memory_is_an_error_that_says_what_to_lower() -> None:
    with pytest.raises(ConfigError, match="max_num_seqs"):
        KeyValueStore(CONFIG, 1 << 44, CPU, torch.float32)
