import torch

from gpt2svc.engine.sampler import Sampler
from gpt2svc.engine.sampling_params import SamplingParams
from gpt2svc.engine.sequence import Sequence
from gpt2svc.engine.types import EngineRequest

CPU = torch.device("cpu")
VOCAB_SIZE = 30
PLAIN = SamplingParams(seed=0, temperature=1.0, top_k=0, top_p=1.0, repetition_penalty=1.0)


def _sequence(params: SamplingParams, slot: int = 0, prompt: tuple[int, ...] = (1, 2, 3)) -> Sequence:
    sequence = Sequence(EngineRequest(f"r{slot}", prompt, params))
    sequence.slot = slot
    return sequence


def _with(seed: int, **changes: float) -> SamplingParams:
    values = {name: getattr(PLAIN, name) for name in SamplingParams.__slots__}
    return SamplingParams(**{**values, "seed": seed, **changes})


def test_many_seeds_sample_the_softmax() -> None:
    torch.manual_seed(0)
    logits = 2 * torch.randn(VOCAB_SIZE)
    num_samples = 20_000
    sampler = Sampler(num_samples, 8, VOCAB_SIZE, CPU)
    for temperature, top_k in ((1.0, 0), (0.7, 0), (1.5, 10)):
        sequences = [_sequence(_with(i, temperature=temperature, top_k=top_k), slot=i) for i in range(num_samples)]
        sampled = sampler.sample(logits.repeat(num_samples, 1), sequences)
        counts = torch.bincount(torch.tensor([s.token_id for s in sampled]), minlength=VOCAB_SIZE)
        scores = logits / temperature
        if top_k:
            scores = scores.masked_fill(scores < scores.topk(top_k).values[-1], -torch.inf)
        expected = scores.softmax(-1) * num_samples
        seen = expected > 5
        assert not counts[expected == 0].any()
        chi_square = ((counts - expected)[seen] ** 2 / expected[seen]).sum()
        assert chi_square < 2.2 * seen.sum()  # far beyond p = 0.001 for 9 to 29 degrees of freedom


def test_one_sequence_over_many_positions_samples_the_softmax() -> None:
    torch.manual_seed(1)
    logits = torch.randn(1, VOCAB_SIZE)
    sampler = Sampler(1, 8, VOCAB_SIZE, CPU)
    sequence = _sequence(_with(7))
    counts = torch.zeros(VOCAB_SIZE)
    for _ in range(4000):
        token_id = sampler.sample(logits.clone(), [sequence])[0].token_id
        counts[token_id] += 1
        sequence.token_ids.append(token_id)
    expected = logits[0].softmax(-1) * 4000
    assert ((counts - expected) ** 2 / expected).sum() < 58.3  # p = 0.001 with 29 degrees of freedom


def test_logprobs_are_those_of_the_model_before_any_setting() -> None:
    torch.manual_seed(2)
    logits = 3 * torch.randn(3, VOCAB_SIZE)
    params = [
        _with(0, temperature=0.0, logprobs=4, repetition_penalty=5.0),
        _with(1),
        _with(2, temperature=0.3, top_k=5, logprobs=0),
    ]
    sampler = Sampler(3, 8, VOCAB_SIZE, CPU)
    sampled = sampler.sample(logits.clone(), [_sequence(p, slot=i) for i, p in enumerate(params)])
    expected = logits.log_softmax(-1)
    first, second, third = (s.logprobs for s in sampled)
    assert second is None
    assert first is not None
    assert third is not None
    assert first.logprob == expected[0, sampled[0].token_id].item()
    assert [i for i, _ in first.top] == expected[0].topk(4).indices.tolist()
    assert [v for _, v in first.top] == expected[0].topk(4).values.tolist()
    assert third.logprob == expected[2, sampled[2].token_id].item()
    assert third.top == ()


def test_batch_that_changes_between_steps_keeps_each_row_its_penalties() -> None:
    sampler = Sampler(2, 16, VOCAB_SIZE, CPU)
    greedy = _with(0, temperature=0.0, frequency_penalty=1.0)
    one, two = _sequence(greedy, slot=0), _sequence(greedy, slot=1)
    logits = torch.zeros(VOCAB_SIZE)
    logits[4], logits[5] = 1.6, 1.0

    def step(*sequences: Sequence) -> None:
        for sequence, token in zip(sequences, sampler.sample(logits.repeat(len(sequences), 1), sequences), strict=True):
            sequence.token_ids.append(token.token_id)

    step(one)
    step(one, two)
    step(two)
    step(two, one)
    # Each occurrence costs 1.0, so that the best tokens take turns.
    assert one.token_ids[3:] == [4, 5, 4]
    assert two.token_ids[3:] == [4, 5, 4]
