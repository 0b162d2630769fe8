import random

import pytest

from gpt2svc.engine.prompt_lookup import Guess, PromptLookup


@pytest.mark.parametrize("token_ids", [[], [1], [1, 1], [1, 2, 3, 4, 5], [1, 2, 3, 1], [5, 1, 5, 2, 5, 3, 5]])
def test_text_whose_end_stands_nowhere_else_brings_no_guess(token_ids: list[int]) -> None:
    assert PromptLookup(token_ids).guess(3) is None


def test_what_followed_the_same_run_of_tokens_is_guessed() -> None:
    assert PromptLookup([7, 1, 2, 3, 4, 5, 6, 9, 1, 2, 3]).guess(3) == Guess(3, (4, 5, 6))


def test_the_longest_run_is_looked_for_first_and_the_latest_place_counts() -> None:
    assert PromptLookup([1, 2, 3, 4, 8, 2, 3, 5, 9, 1, 2, 3]).guess(1) == Guess(3, (4,))
    assert PromptLookup([8, 2, 3, 5, 9, 2, 3, 6, 9, 0, 2, 3]).guess(1) == Guess(2, (6,))


def test_a_guess_goes_on_in_circles_where_the_text_ends() -> None:
    assert PromptLookup([5, 1, 2, 1, 2, 1, 2]).guess(5) == Guess(3, (1, 2, 1, 2, 1))
    assert PromptLookup([4, 4, 4, 4]).guess(3) == Guess(3, (4, 4, 4))


def test_an_index_that_grew_guesses_as_one_made_anew() -> None:
    rng = random.Random(0)
    token_ids: list[int] = []
    growing = PromptLookup(token_ids)
    num_guesses = 0
    for _ in range(300):
        token_ids += [rng.randrange(6) for _ in range(rng.randint(1, 5))]
        guess = growing.guess(4)
        assert guess == PromptLookup(list(token_ids)).guess(4)
        if guess is not None:
            num_guesses += 1
            run = token_ids[-guess.run_length :]
            places = [i for i in range(len(token_ids) - len(run)) if token_ids[i : i + len(run)] == run]
            first = max(places) + len(run)
            assert guess.token_ids[0] == token_ids[first]
    assert num_guesses > 200
