"""Diverse beam search against a plain reading of the paper (Vijayakumar et al. 2016, algorithm 1)."""

import random
from collections import Counter
from collections.abc import Callable

import torch
from transformers import GPT2LMHeadModel

from gpt2svc.engine.core import EngineCore
from gpt2svc.engine.sampling_params import SamplingParams
from gpt2svc.engine.types import EngineRequest
from gpt2svc.models.folder import ModelFolder

Sums = dict[tuple[int, ...], float]


def _diverse(
    model: GPT2LMHeadModel, prompt: list[int], stop: int, groups: int, beams: int, length: int, strength: float
) -> list[tuple[float, tuple[int, ...]]]:
    """`groups` groups of `beams` beams, of `length` tokens or to the stop token; nothing is cached, nothing batched.

    In each step group after group augments its beams' log-probabilities by -strength for each beam of an earlier group
    that has just taken the same token, and keeps the best. A group that has as many finished beams as it may have, the
    worst of them better than its best live one is by now, is through.
    """
    live: list[Sums] = [{(): 0.0} for _ in range(groups)]
    finished: list[Sums] = [{} for _ in range(groups)]
    for step in range(1, length + 1):
        taken: Counter[int] = Counter()
        for group in range(groups):
            scored: Sums = {}
            for tokens, total in live[group].items():
                with torch.no_grad():
                    logits = model(torch.tensor([[*prompt, *tokens]])).logits[0, -1]
                for token, logprob in enumerate(logits.log_softmax(-1).tolist()):
                    scored[(*tokens, token)] = total + logprob - strength * taken[token]
            ranked = sorted(scored, key=lambda tokens: -scored[tokens])
            for tokens in ranked[:beams]:
                if tokens[-1] == stop or step == length:
                    finished[group][tokens] = scored[tokens] / step
            best = sorted(finished[group].items(), key=lambda item: -item[1])[:beams]
            finished[group] = dict(best)
            going_on = [tokens for tokens in ranked if tokens[-1] != stop][:beams]
            taken.update(tokens[-1] for tokens in going_on)
            is_through = len(best) == beams and bool(going_on) and scored[going_on[0]] / step <= best[-1][1]
            live[group] = {} if is_through else {tokens: scored[tokens] for tokens in going_on}
    return sorted(((score, tokens) for own in finished for tokens, score in own.items()), reverse=True)


def test_diverse_beams_equal_the_papers(
    references: list[GPT2LMHeadModel], folders: list[ModelFolder], new_core: Callable[..., EngineCore]
) -> None:
    rng = random.Random(1)
    reference, folder = references[1], folders[1]
    core = new_core(folder, max_num_seqs=16)
    for groups, beams, strength in ((1, 3, 0.0), (2, 1, 2.0), (2, 2, 8.0), (3, 2, 40.0), (4, 1, 40.0), (2, 3, 0.0)):
        prompt = [rng.randrange(folder.config.vocab_size) for _ in range(5)]
        stop = rng.randrange(folder.config.vocab_size)
        expected = _diverse(reference, prompt, stop, groups, beams, length=6, strength=strength)
        params = SamplingParams(
            seed=0,
            max_new_tokens=6,
            repetition_penalty=1.0,
            stop_token_ids=(stop,),
            num_beams=groups * beams,
            num_beam_groups=groups,
            diversity_penalty=strength,
            num_return_sequences=groups * beams,
        )
        core.add_request(EngineRequest("a", tuple(prompt), params))
        outputs = []
        while core.has_work:
            outputs += core.step()
            core.check_integrity()
        hypotheses = outputs[-1].hypotheses or ()
        # Groups without a penalty between them find the same: equal scores may stand in any order.
        found = sorted(((round(each.score, 4), each.token_ids) for each in hypotheses), reverse=True)
        assert found == sorted(((round(score, 4), tokens) for score, tokens in expected), reverse=True)
        assert outputs[-1].token_ids[-1] == hypotheses[0].token_ids[-1]
        if strength == 40:  # keeps the groups apart
            assert len({each.token_ids for each in hypotheses}) == groups * beams
