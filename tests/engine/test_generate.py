import pytest

from gpt2svc.engine.config import EngineConfig
from gpt2svc.engine.core import EngineCore
from gpt2svc.engine.generate import generate, stream
from gpt2svc.engine.sampling_params import SamplingParams
from gpt2svc.errors import InvalidInputError
from tests.fakes.model import HashModel, greedy_reply

GREEDY = SamplingParams(seed=4, temperature=0, repetition_penalty=1.0, max_new_tokens=6)


@pytest.fixture
def core() -> EngineCore:
    return EngineCore(HashModel(), EngineConfig(max_num_seqs=3))


def test_completions_come_in_the_order_of_prompts_and_sequences(core: EngineCore) -> None:
    prompts = [[1, 2], [3], [4, 5, 6]]
    completions = generate(core, prompts, GREEDY, num_return_sequences=2)
    assert [(c.prompt_index, c.sequence_index, c.seed) for c in completions] == [
        (0, 0, 4), (0, 1, 5), (1, 0, 4), (1, 1, 5), (2, 0, 4), (2, 1, 5)
    ]  # fmt: skip
    for completion in completions:
        assert completion.token_ids == greedy_reply(prompts[completion.prompt_index], 6)
        assert completion.finish_reason == "length"
        assert completion.logprobs is None


def test_return_sequences_differ_by_their_seeds(core: EngineCore) -> None:
    params = SamplingParams(seed=1, temperature=5.0, top_k=0, top_p=1.0, max_new_tokens=10, logprobs=1)
    completions = generate(core, [[1]], params, num_return_sequences=3)
    assert len({c.token_ids for c in completions}) == 3
    assert all(len(c.logprobs or ()) == 10 for c in completions)
    again = generate(core, [[1]], SamplingParams(seed=3, temperature=5.0, top_k=0, top_p=1.0, max_new_tokens=10))
    assert again[0].token_ids == completions[2].token_ids


def test_results_of_a_search_come_best_first_with_their_scores(core: EngineCore) -> None:
    params = SamplingParams(seed=4, repetition_penalty=1.0, max_new_tokens=6, num_beams=3, logprobs=0)
    completions = generate(core, [[1, 2], [3]], params, num_return_sequences=2)
    assert [(c.prompt_index, c.sequence_index) for c in completions] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert [c.token_ids for c in completions[::2]] == [greedy_reply([1, 2], 6), greedy_reply([3], 6)]
    for best, other in (completions[:2], completions[2:]):
        assert best.score is not None
        assert other.score is not None
        assert best.score > other.score
        assert best.score == pytest.approx(sum(each.logprob for each in best.logprobs or ()) / 6)
    core.check_integrity()


def test_leaving_the_stream_leaves_nothing_in_the_engine(core: EngineCore) -> None:
    deltas = stream(core, [[1], [2]], GREEDY)
    assert next(deltas).output.token_ids == greedy_reply([1], 1)
    deltas.close()  # type: ignore[attr-defined]
    assert not core.has_work
    assert core.stats.num_free_slots == 3


def test_wrong_prompt_leaves_nothing_in_the_engine(core: EngineCore) -> None:
    with pytest.raises(InvalidInputError):
        generate(core, [[1], []], GREEDY)
    assert not core.has_work
    assert generate(core, [[1]], GREEDY)[0].token_ids == greedy_reply([1], 6)
