import numpy as np
import pytest

from gpt2svc.evaluation.windows import windows


@pytest.mark.parametrize("length", [2, 9, 10, 11, 16, 37])
@pytest.mark.parametrize("stride", [None, 1, 3, 9])
def test_windows_score_each_token_after_the_first_once_with_enough_before_it(length: int, stride: int | None) -> None:
    least = 9 - (stride or 4)
    scored = []
    for window in windows(np.arange(length), 9, stride=stride):
        assert window.num_inputs <= 9
        assert window.token_ids[0] == 0 or window.num_context >= least
        scored += window.token_ids[1:][window.num_context :].tolist()
    assert scored == list(range(1, length))


@pytest.mark.parametrize("first_scored", [1, 5, 20, 36])
def test_a_prompt_is_read_and_not_scored(first_scored: int) -> None:
    parts = list(windows(np.arange(37), 9, first_scored=first_scored))
    scored = [token for part in parts for token in part.token_ids[1:][part.num_context :].tolist()]
    assert scored == list(range(first_scored, 37))
    assert all(part.num_context < part.num_inputs for part in parts)


def test_a_single_token_has_nothing_to_score() -> None:
    assert list(windows(np.arange(1), 9)) == []
