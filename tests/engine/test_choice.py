"""The chosen token as a function of the uniform draw, against the distribution that transformers would sample from.

Sweeping the draw over an even grid shows the whole distribution without any randomness: each token is chosen for a
share of the grid equal to its probability, and dropped tokens never.
"""

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import MinPLogitsWarper, TopKLogitsWarper, TopPLogitsWarper, TypicalLogitsWarper

from gpt2svc.engine.choice import Filters, choose_bounded, choose_typical, choose_unbounded
from gpt2svc.engine.sampling_params import SamplingParams

GRID = 3000
OFF: dict[str, Any] = {"top_k": 0, "top_p": 1.0, "min_p": 0.0, "typical_p": 1.0}
CASES: dict[str, dict[str, Any]] = {
    "top-k": {"top_k": 7},
    "top-k of one": {"top_k": 1},
    "top-k over the vocabulary": {"top_k": 10_000},
    "top-k and top-p": {"top_k": 20, "top_p": 0.8},
    "top-k and min-p": {"top_k": 30, "min_p": 0.1},
    "top-k and typical-p": {"top_k": 25, "typical_p": 0.7},
    "top-p": {"top_p": 0.7},
    "top-p of nothing": {"top_p": 0.0},
    "top-p of nearly all": {"top_p": 0.999},
    "min-p": {"min_p": 0.05},
    "typical-p": {"typical_p": 0.6},
    "top-p and typical-p": {"top_p": 0.9, "typical_p": 0.8},
    "everything": {"top_k": 40, "top_p": 0.95, "min_p": 0.02, "typical_p": 0.9},
    "nothing": {},
}


def _filtered_by_transformers(scores: Tensor, case: dict[str, Any]) -> Tensor:
    settings = {**OFF, **case}
    ids = torch.zeros((len(scores), 1), dtype=torch.long)
    if settings["top_k"]:
        scores = TopKLogitsWarper(settings["top_k"])(ids, scores)
    if settings["top_p"] < 1:
        scores = TopPLogitsWarper(settings["top_p"])(ids, scores)
    if settings["min_p"]:
        scores = MinPLogitsWarper(settings["min_p"])(ids, scores)
    if settings["typical_p"] < 1:
        scores = TypicalLogitsWarper(settings["typical_p"])(ids, scores)
    return scores


def _shares(scores: Tensor, case: dict[str, Any]) -> Tensor:
    """Share of the grid on which each token of one row (1, vocab_size) is chosen."""
    settings = {**OFF, **case}
    params = SamplingParams(seed=0, temperature=1.0, **settings)
    only_typical = settings["typical_p"] < 1 and settings["top_p"] >= 1 and settings["min_p"] == 0
    choose = choose_bounded if settings["top_k"] else choose_typical if only_typical else choose_unbounded
    uniforms = ((torch.arange(GRID, dtype=torch.float64) + 0.5) / GRID).unsqueeze(1)
    filters = Filters([params] * GRID, scores.shape[1], scores.device)
    chosen = choose(scores.expand(GRID, -1), filters, uniforms)
    return torch.bincount(chosen, minlength=scores.shape[1]) / GRID


def _sorted_within_ties(scores: Tensor, shares: Tensor) -> Tensor:
    order = sorted(range(len(scores)), key=lambda i: (-float(scores[i]), -float(shares[i])))
    return shares[order]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("has_ties", [False, True])
@pytest.mark.parametrize("vocab_size", [60, 700])
def test_distribution_is_that_of_transformers(name: str, has_ties: bool, vocab_size: int) -> None:
    for seed in range(3):
        torch.manual_seed(seed)
        scores = 2.5 * torch.randn(1, vocab_size)
        if has_ties:  # as logits in bfloat16 have
            scores = (2 * scores).round() / 2
        expected = _filtered_by_transformers(scores, CASES[name]).softmax(-1)[0]
        shares = _shares(scores, CASES[name])
        if has_ties:
            # Which of equally likely tokens a nucleus keeps is left to an unstable sort there: compare how many.
            expected, shares = _sorted_within_ties(scores[0], expected), _sorted_within_ties(scores[0], shares)
        assert not shares[expected == 0].any()
        # The grid sees each kept token whose probability is more than a step of it.
        assert (shares[expected > 1.01 / GRID] > 0).all()
        torch.testing.assert_close(shares, expected, rtol=0, atol=1.01 / GRID)


@pytest.mark.parametrize("case", [{"top_k": 5}, {"top_k": 3, "top_p": 0.9}])
def test_ties_beyond_the_first_candidates_are_all_kept(case: dict[str, Any]) -> None:
    scores = torch.zeros(1, 400)
    scores[0, 7] = 1.0
    expected = _sorted_within_ties(scores[0], _filtered_by_transformers(scores, case).softmax(-1)[0])
    shares = _sorted_within_ties(scores[0], _shares(scores, case))
    torch.testing.assert_close(shares, expected, rtol=0, atol=1.01 / GRID)


def test_banned_tokens_are_never_chosen() -> None:
    scores = torch.full((1, 100), -torch.inf)
    scores[0, [4, 50]] = 1.0
    for case in ({"top_k": 30}, {"top_p": 0.99}, {}, {"typical_p": 0.9}, {"min_p": 0.5}):
        shares = _shares(scores, case)
        assert shares[[4, 50]].tolist() == pytest.approx([0.5, 0.5], abs=1.01 / GRID)


def test_choice_for_a_row_does_not_depend_on_the_other_rows() -> None:
    torch.manual_seed(0)
    scores = 3 * torch.randn(64, 2000)
    uniforms = torch.rand(64, 1, dtype=torch.float64)
    for choose, names in (
        (choose_bounded, ["top-k", "top-k and top-p", "top-k and typical-p", "everything", "top-k of one"]),
        (choose_unbounded, ["top-p", "top-p of nearly all", "min-p", "top-p and typical-p", "nothing"]),
        (choose_typical, ["typical-p"]),
    ):
        params = [SamplingParams(seed=0, **{**OFF, **CASES[names[i % len(names)]]}) for i in range(64)]
        together = choose(scores, Filters(params, 2000, scores.device), uniforms)
        alone = [
            choose(scores[i : i + 1], Filters([params[i]], 2000, scores.device), uniforms[i : i + 1]) for i in range(64)
        ]
        assert torch.equal(together, torch.cat(alone))


def test_likelier_tokens_come_first_and_lower_ids_among_equals() -> None:
    scores = torch.tensor([[0.0, 2.0, 1.0, 2.0]])
    filters = Filters([SamplingParams(seed=0, **{**OFF, "top_k": 4})], 4, scores.device)
    order = [
        int(choose_bounded(scores, filters, torch.tensor([[u]], dtype=torch.float64)))
        for u in (0.0, 0.39, 0.41, 0.79, 0.81, 0.94, 0.95, 1 - 2**-53)
    ]
    assert order == [1, 1, 3, 3, 2, 2, 0, 0]
