from gpt2svc.completions.seeds import seeds_of
from gpt2svc.generation.settings import MAX_SEED


def test_a_given_seed_is_the_first_choices_own_and_the_same_for_every_prompt() -> None:
    seeds = seeds_of(MAX_SEED, 2, 128)
    assert seeds[0] == MAX_SEED
    assert seeds[:128] == seeds[128:]
    assert len(set(seeds)) == 128
    assert all(0 <= seed <= MAX_SEED for seed in seeds)


def test_without_one_each_sequence_draws_its_own() -> None:
    assert len(set(seeds_of(None, 20, 2))) > 30
