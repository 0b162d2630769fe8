from gpt2svc.completions.result import CompletionResult, SequenceResult


def result(index: int, prompt_index: int, sum_logprob: float, num_sampled: int, num_cached: int = 0) -> SequenceResult:
    return SequenceResult(
        index, prompt_index, seed=index, sum_logprob=sum_logprob, num_sampled=num_sampled, num_cached=num_cached
    )


def test_best_are_those_with_the_highest_mean_logprob_of_each_prompt() -> None:
    whole = CompletionResult(
        [
            result(0, 0, -9.0, 3),
            result(1, 0, -8.0, 4),
            result(2, 0, -1.0, 1),
            result(3, 1, -5.0, 1),
            result(4, 1, -6, 3),
        ]
    )
    assert [sequence.index for sequence in whole.best(2)] == [2, 1, 3, 4]
    assert [sequence.index for sequence in whole.best(1)] == [2, 4]


def test_all_sampled_tokens_count_and_each_prompt_is_cached_once() -> None:
    whole = CompletionResult([result(0, 0, 0, 3, 8), result(1, 0, 0, 4, 9), result(2, 1, 0, 5, 2)])
    assert (whole.num_completion_tokens, whole.num_cached_tokens) == (12, 11)
