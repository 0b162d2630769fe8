import pytest
import torch

from gpt2svc.engine.candidates import largest, top_candidates


def _expected(row: list[float], count: int) -> list[int]:
    return sorted(range(len(row)), key=lambda i: (-row[i], i))[:count]


@pytest.mark.parametrize("vocab_size", [5, 64, 1000, 5003, 20000])
@pytest.mark.parametrize("count", [1, 3, 40])
def test_candidates_are_the_likeliest_in_order(vocab_size: int, count: int) -> None:
    torch.manual_seed(vocab_size)
    logits = torch.randn(4, vocab_size)
    values, token_ids = top_candidates(logits, count)
    assert token_ids.tolist() == [_expected(row, count) for row in logits.tolist()]
    assert torch.equal(values, logits.gather(1, token_ids))


@pytest.mark.parametrize("vocab_size", [200, 5003, 12_800])
def test_ties_are_settled_by_id_up_to_the_last(vocab_size: int) -> None:
    torch.manual_seed(0)
    logits = (2 * torch.randn(50, vocab_size)).round()
    logits[:, 3] = -0.0
    for count in (1, 30):
        _, token_ids = top_candidates(logits, count)
        assert token_ids.tolist() == [_expected(row, count) for row in logits.tolist()]


@pytest.mark.parametrize("vocab_size", [7, 1024, 5003, 4096])
def test_largest_is_the_lowest_id_among_equals(vocab_size: int) -> None:
    torch.manual_seed(0)
    logits = (2 * torch.randn(100, vocab_size)).round()
    assert largest(logits).tolist() == [_expected(row, 1)[0] for row in logits.tolist()]


def test_more_candidates_than_tokens_are_all_tokens() -> None:
    values, token_ids = top_candidates(torch.tensor([[1.0, 3.0, 2.0]]), 10)
    assert token_ids.tolist() == [[1, 2, 0]]
    assert values.tolist() == [[3.0, 2.0, 1.0]]
