from gpt2svc.engine.prefix_cache import PrefixCache, PrefixMatch


def test_longest_match_comes_first() -> None:
    cache = PrefixCache()
    cache.put(0, "ann", [1, 2, 3, 4], 4)
    cache.put(1, "ann", [1, 2, 9, 9], 4)
    cache.put(2, "ann", [7, 2, 3, 4], 4)
    assert cache.matches("ann", [1, 2, 3, 5, 6]) == [PrefixMatch(0, 3), PrefixMatch(1, 2)]


def test_other_owners_find_nothing() -> None:
    cache = PrefixCache()
    cache.put(0, "ann", [1, 2, 3], 3)
    assert cache.matches("ben", [1, 2, 3, 4]) == []
    assert cache.matches("", [1, 2, 3, 4]) == []


def test_only_computed_tokens_match() -> None:
    cache = PrefixCache()
    cache.put(0, "ann", [1, 2, 3, 4, 5], 2)
    assert cache.matches("ann", [1, 2, 3, 4, 5, 6]) == [PrefixMatch(0, 2)]


def test_last_prompt_token_never_matches() -> None:
    cache = PrefixCache()
    cache.put(0, "ann", [1, 2, 3], 3)
    assert cache.matches("ann", [1, 2, 3]) == [PrefixMatch(0, 2)]
    assert cache.matches("ann", [1]) == []


def test_every_length_of_common_prefix_is_found_exactly() -> None:
    held = list(range(100))
    cache = PrefixCache()
    cache.put(0, "ann", held, 100)
    for length in range(1, 100):
        prompt = [*held[:length], 999, *held[length:]]
        assert cache.matches("ann", prompt) == [PrefixMatch(0, length)]


def test_removed_slot_is_forgotten() -> None:
    cache = PrefixCache()
    cache.put(0, "ann", [1, 2], 2)
    cache.put(0, "ben", [1, 2], 2)
    assert cache.matches("ann", [1, 2, 3]) == []
    cache.remove(0)
    cache.remove(0)
    assert cache.matches("ben", [1, 2, 3]) == []
    assert cache.slots == frozenset()
