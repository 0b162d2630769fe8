import random
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    MinNewTokensLengthLogitsProcessor,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
)

from gpt2svc.engine.logits_processors import History, new_logits_processors
from gpt2svc.engine.sampling_params import SamplingParams
from gpt2svc.engine.sequence import Sequence
from gpt2svc.engine.token_history import TokenHistory
from gpt2svc.engine.types import EngineRequest

CPU = torch.device("cpu")
VOCAB_SIZE = 12  # small, so that runs do repeat
NEUTRAL = SamplingParams(seed=0, temperature=1.0, top_k=0, top_p=1.0, repetition_penalty=1.0)


def _sequences(params: list[SamplingParams], seed: int = 0) -> list[Sequence]:
    rng = random.Random(seed)
    sequences = []
    for slot, row_params in enumerate(params):
        prompt = tuple(rng.randrange(VOCAB_SIZE) for _ in range(rng.randint(1, 20)))
        sequence = Sequence(EngineRequest(str(slot), prompt, row_params))
        sequence.slot = slot
        sequence.token_ids += [rng.randrange(VOCAB_SIZE) for _ in range(rng.randint(0, 20))]
        sequences.append(sequence)
    return sequences


def _processed(sequences: list[Sequence], logits: Tensor) -> Tensor:
    store = TokenHistory(len(sequences), 64, VOCAB_SIZE, CPU)
    for sequence in sequences:
        params = sequence.request.params
        store.follow(sequence, is_counted=bool(params.presence_penalty or params.frequency_penalty))
    slots = torch.tensor([sequence.slot for sequence in sequences])
    history = History(store, slots, [len(sequence.token_ids) for sequence in sequences])
    result = logits.clone()
    for processor in new_logits_processors(sequences, CPU):
        processor(result, history)
    return result


def _expected(sequence: Sequence, logits: Tensor) -> Tensor:
    """By transformers' processors in the order of its `generate`, and a plain formula for OpenAI's penalties."""
    params = sequence.request.params
    input_ids = torch.tensor([sequence.token_ids])
    scores = logits.clone().unsqueeze(0)
    if params.logit_bias:
        scores = SequenceBiasLogitsProcessor({(t,): b for t, b in params.logit_bias})(input_ids, scores)
    if params.repetition_penalty != 1:
        scores = RepetitionPenaltyLogitsProcessor(params.repetition_penalty)(input_ids, scores)
    counts = Counter(sequence.token_ids[sequence.num_prompt_tokens :])
    for token_id, count in counts.items():
        scores[0, token_id] -= params.frequency_penalty * count + params.presence_penalty
    if params.no_repeat_ngram_size:
        scores = NoRepeatNGramLogitsProcessor(params.no_repeat_ngram_size)(input_ids, scores)
    if params.min_new_tokens and params.stop_token_ids:
        stop = list(params.stop_token_ids)
        minimum = MinNewTokensLengthLogitsProcessor(sequence.num_prompt_tokens, params.min_new_tokens, stop)
        scores = minimum(input_ids, scores)
    return scores[0]


CASES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "logit bias": {"logit_bias": ((3, 2.5), (0, -100.0), (11, 0.25))},
    "repetition penalty": {"repetition_penalty": 1.3},
    "repetition reward": {"repetition_penalty": 0.7},
    "presence": {"presence_penalty": 0.9},
    "frequency": {"frequency_penalty": -0.4},
    "ban tokens seen": {"no_repeat_ngram_size": 1},
    "bigrams": {"no_repeat_ngram_size": 2},
    "trigrams": {"no_repeat_ngram_size": 3},
    "runs longer than the text": {"no_repeat_ngram_size": 50},
    "min new tokens": {"min_new_tokens": 10, "stop_token_ids": (1, 5)},
    "all": {
        "logit_bias": ((3, 2.5),),
        "repetition_penalty": 1.2,
        "presence_penalty": 0.3,
        "frequency_penalty": 0.2,
        "no_repeat_ngram_size": 2,
        "min_new_tokens": 30,
        "stop_token_ids": (4,),
    },
}


@pytest.mark.parametrize("name", CASES)
def test_each_setting_alone_equals_transformers(name: str) -> None:
    torch.manual_seed(0)
    sequences = _sequences([SamplingParams(**{**_fields(NEUTRAL), **CASES[name]})] * 40)
    logits = 3 * torch.randn(40, VOCAB_SIZE)
    expected = torch.stack([_expected(s, row) for s, row in zip(sequences, logits, strict=True)])
    assert name == "nothing" or not torch.equal(expected, logits) or name == "runs longer than the text"
    torch.testing.assert_close(_processed(sequences, logits), expected, rtol=1e-6, atol=1e-6)


def test_rows_of_one_batch_keep_their_own_settings() -> None:
    torch.manual_seed(1)
    cases = list(CASES.values()) * 3
    sequences = _sequences([SamplingParams(**{**_fields(NEUTRAL), **case}) for case in cases], seed=3)
    logits = 3 * torch.randn(len(cases), VOCAB_SIZE)
    processed = _processed(sequences, logits)
    for i, sequence in enumerate(sequences):
        torch.testing.assert_close(processed[i], _expected(sequence, logits[i]), rtol=1e-6, atol=1e-6)
        alone = Sequence(sequence.request)
        alone.slot, alone.token_ids = 0, sequence.token_ids
        assert torch.equal(processed[i], _processed([alone], logits[i : i + 1])[0])


def test_batch_without_settings_has_no_processors() -> None:
    assert new_logits_processors(_sequences([NEUTRAL] * 3), CPU) == []


def test_history_follows_sequences_that_pause_and_slots_that_change_hands() -> None:
    params = SamplingParams(**{**_fields(NEUTRAL), "frequency_penalty": 1.0})
    store = TokenHistory(2, 64, VOCAB_SIZE, CPU)
    first, second = (Sequence(EngineRequest(name, (1, 2), params)) for name in "ab")
    first.slot = second.slot = 1
    slots = torch.tensor([1])
    store.follow(first, is_counted=True)
    store.append([first], slots, torch.tensor([2]), torch.tensor([7]), is_counted=True)
    first.token_ids += [7, 7, 3]  # two more came while others' settings asked for nothing
    store.follow(first, is_counted=True)
    assert store.token_ids(slots, 5).tolist() == [[1, 2, 7, 7, 3]]
    assert store.counts(slots, torch.tensor([[1, 7, 3]])).tolist() == [[0, 2, 1]]
    store.forget(1)
    store.follow(second, is_counted=True)
    assert store.token_ids(slots, 5).tolist() == [[1, 2, 1, 1, 1]]
    assert store.counts(slots, torch.tensor([[1, 7, 3]])).tolist() == [[0, 0, 0]]


def _fields(params: SamplingParams) -> dict[str, Any]:
    return {name: getattr(params, name) for name in SamplingParams.__slots__}
