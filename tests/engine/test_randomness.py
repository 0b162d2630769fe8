import pytest

from gpt2svc.engine.randomness import uniform

# Computed once from the formulas in the module's docstring; other implementations must give the same.
GOLDEN = {
    (0, 0): 0.8833108082136426,
    (0, 1): 0.43152799704850997,
    (1, 0): 0.7497482413580301,
    (42, 7): 0.15289334222649975,
    (2**63 - 1, 1023): 0.2676383657233985,
}


@pytest.mark.parametrize(("seed", "position"), GOLDEN)
def test_draws_are_the_golden_ones(seed: int, position: int) -> None:
    assert uniform(seed, position) == GOLDEN[seed, position]


def test_draws_spread_evenly_over_positions_and_over_seeds() -> None:
    for draws in ([uniform(9, p) for p in range(5000)], [uniform(s, 3) for s in range(5000)]):
        assert all(0 <= u < 1 for u in draws)
        bins = [0] * 20
        for u in draws:
            bins[int(u * 20)] += 1
        chi_square = sum((count - 250) ** 2 / 250 for count in bins)
        assert chi_square < 43.8  # p = 0.001 with 19 degrees of freedom


def test_neighbouring_seeds_do_not_share_a_stream() -> None:
    first = {uniform(5, p) for p in range(2000)}
    shifted = {uniform(5 + 0x9E3779B97F4A7C15, p) for p in range(2000)}
    assert not first & shifted
