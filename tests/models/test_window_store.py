import torch

from gpt2svc.models.config import GPT2Config
from gpt2svc.models.window_store import WindowStore

CPU = torch.device("cpu")
CONFIG = GPT2Config(n_positions=40, n_embd=24, n_head=3, n_layer=2)


def _write(store: WindowStore, slot: int, positions: range, value: float) -> None:
    places = store.places(torch.full((len(positions),), slot), torch.tensor(list(positions)))
    for layer in range(CONFIG.n_layer):
        rows = torch.full((len(positions), CONFIG.n_head, CONFIG.head_dim), value + layer)
        store.write(layer, places, rows, -rows)


def test_window_is_in_one_piece_and_rows_land_in_their_place_only() -> None:
    store = WindowStore(CONFIG, 5, CPU, torch.float32)
    assert store.window == 48
    _write(store, 2, range(10, 40), 7.0)
    for layer in range(CONFIG.n_layer):
        keys, values = store.keys_and_values(layer)
        assert keys.shape == values.shape == (5, 3, 48, 8)  # four slots and the scratch slot
        assert keys[2, :, 10:40].unique().tolist() == [7.0 + layer]
        assert values[2, :, 10:40].unique().tolist() == [-7.0 - layer]
        assert keys.count_nonzero() == values.count_nonzero() == 3 * 30 * 8


def test_growth_keeps_slots_and_leaves_the_old_scratch_slot_empty() -> None:
    store = WindowStore(CONFIG, 6, CPU, torch.float32, initial_slots=1)
    _write(store, 0, range(40), 3.0)
    _write(store, store.scratch_slot, range(40), 5.0)
    store.reserve(2)
    assert (store.capacity, store.scratch_slot) == (2, 2)
    keys, _ = store.keys_and_values(0)
    assert keys[0, :, :40].unique().tolist() == [3.0]
    assert not keys[1:].any()


def test_prefix_is_copied_and_nothing_beyond_it() -> None:
    store = WindowStore(CONFIG, 6, CPU, torch.float32, initial_slots=1)
    _write(store, 0, range(40), 3.0)
    store.copy_prefix(0, 4, 20)
    keys, values = store.keys_and_values(1)
    assert torch.equal(keys[4, :, :20], keys[0, :, :20])
    assert torch.equal(values[4, :, :20], values[0, :, :20])
    assert not keys[4, :, 20:].any()


def test_size_counts_the_scratch_slot() -> None:
    assert WindowStore(CONFIG, 5, CPU, torch.bfloat16).num_bytes == 2 * 2 * (5 + 1) * 48 * 24 * 2
