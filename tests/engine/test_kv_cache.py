import pytest

from gpt2svc.engine.kv_cache import KVCache
from gpt2svc.errors import EngineError
from tests.fakes.model import TokenCache


def _cache(num_slots: int, **options: bool) -> tuple[KVCache, TokenCache]:
    store = TokenCache(num_slots)
    return KVCache(store, num_slots, **options), store


def _finish(cache: KVCache, owner: str, token_ids: list[int]) -> int:
    slot, _ = cache.allocate(owner, token_ids)
    cache.record(slot, owner, token_ids, len(token_ids))
    cache.retire(slot)
    return slot


def test_slots_run_out_and_come_back() -> None:
    cache, _ = _cache(2)
    first, _ = cache.allocate("ann", [1])
    cache.allocate("ann", [2])
    assert cache.num_free_slots == 0
    with pytest.raises(EngineError, match="No slot"):
        cache.allocate("ann", [3])
    cache.release(first)
    assert cache.allocate("ann", [3]) == (first, 0)
    cache.check_integrity()


def test_finished_slot_is_continued_in_place() -> None:
    cache, store = _cache(3)
    slot = _finish(cache, "ann", [1, 2, 3])
    assert cache.num_free_slots == 3
    assert cache.allocate("ann", [1, 2, 3, 4]) == (slot, 3)
    assert store.copies == []
    cache.check_integrity()


def test_running_slot_is_copied() -> None:
    cache, store = _cache(3)
    token_ids = list(range(40))
    slot, _ = cache.allocate("ann", token_ids)
    cache.record(slot, "ann", token_ids, 30)
    assert cache.allocate("ann", token_ids) == (1, 30)
    assert store.copies == [(slot, 1, 30)]


def test_short_prefix_of_a_long_sequence_does_not_cost_it_its_slot() -> None:
    cache, store = _cache(3)
    long = _finish(cache, "ann", list(range(40)))
    assert cache.allocate("ann", [*range(17), 99, 98]) == (1, 17)
    assert store.copies == [(long, 1, 17)]
    assert cache.allocate("ann", list(range(50))) == (long, 40)


def test_other_owner_gets_an_empty_slot() -> None:
    cache, store = _cache(2)
    _finish(cache, "ann", list(range(40)))
    assert cache.allocate("ben", list(range(50))) == (1, 0)
    assert store.copies == []


def test_least_recently_used_prefix_gives_way() -> None:
    cache, _ = _cache(2)
    first = _finish(cache, "ann", [1, 1, 1])
    second = _finish(cache, "ben", [2, 2, 2])
    assert cache.allocate("ann", [1, 1, 1, 4]) == (first, 3)
    cache.record(first, "ann", [1, 1, 1, 4], 4)
    cache.retire(first)
    assert cache.allocate("cat", [3]) == (second, 0)
    assert cache.allocate("ann", [1, 1, 1, 4, 5]) == (first, 4)
    cache.check_integrity()


def test_released_slot_keeps_no_prefix() -> None:
    cache, _ = _cache(2)
    slot, _ = cache.allocate("ann", [1, 2, 3])
    cache.record(slot, "ann", [1, 2, 3], 3)
    cache.release(slot)
    assert cache.allocate("ann", [1, 2, 3, 4]) == (slot, 0)


def test_without_reuse_nothing_is_kept() -> None:
    cache, _ = _cache(2, is_prefix_reuse_enabled=False)
    _finish(cache, "ann", [1, 2, 3])
    assert cache.allocate("ann", [1, 2, 3, 4]) == (0, 0)
    cache.check_integrity()


def test_failed_copy_loses_no_slot() -> None:
    class Failing(TokenCache):
        def copy_prefix(self, source: int, target: int, num_tokens: int) -> None:
            raise MemoryError

    cache = KVCache(Failing(2), 2)
    token_ids = list(range(40))
    slot, _ = cache.allocate("ann", token_ids)
    cache.record(slot, "ann", token_ids, 40)
    with pytest.raises(MemoryError):
        cache.allocate("ann", token_ids)
    assert cache.num_free_slots == 1
    cache.check_integrity()


def test_lost_slot_is_noticed() -> None:
    cache, _ = _cache(2)
    slot, _ = cache.allocate("ann", [1])
    cache._running.remove(slot)
    with pytest.raises(EngineError, match="KV cache"):
        cache.check_integrity()
