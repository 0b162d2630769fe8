"""Greedy replies against `generate` of transformers, token for token."""

import random
from collections.abc import Callable

import torch
from transformers import GPT2LMHeadModel

from gpt2svc.engine.core import EngineCore
from gpt2svc.engine.generate import generate
from gpt2svc.engine.sampling_params import SamplingParams
from gpt2svc.models.folder import ModelFolder

NEW_TOKENS = 12
NUM_PROMPTS = 50


def _prompts(vocab_size: int, window: int) -> list[list[int]]:
    rng = random.Random(0)
    lengths = [1, window - NEW_TOKENS, *(rng.randint(1, 60) for _ in range(NUM_PROMPTS - 2))]
    return [[rng.randrange(vocab_size) for _ in range(length)] for length in lengths]


def _expected(reference: GPT2LMHeadModel, prompts: list[list[int]], penalty: float) -> list[list[int]]:
    replies = []
    for prompt in prompts:
        with torch.no_grad():
            output = reference.generate(
                torch.tensor([prompt]),
                attention_mask=torch.ones((1, len(prompt)), dtype=torch.long),
                max_new_tokens=NEW_TOKENS,
                do_sample=False,
                repetition_penalty=penalty,
                eos_token_id=None,
                pad_token_id=0,
            )
        replies.append(output[0, len(prompt) :].tolist())
    return replies


def test_greedy_replies_equal_transformers_alone_and_in_batches(
    references: list[GPT2LMHeadModel], folders: list[ModelFolder], new_core: Callable[..., EngineCore]
) -> None:
    for reference, folder, penalty in zip(references, folders, (1.0, 1.3, 1.0), strict=True):
        prompts = _prompts(folder.config.vocab_size, folder.config.n_positions)
        expected = _expected(reference, prompts, penalty)
        params = SamplingParams(seed=0, temperature=0, max_new_tokens=NEW_TOKENS, repetition_penalty=penalty)
        core = new_core(folder, max_num_seqs=16, max_num_batched_tokens=48)
        together = generate(core, prompts, params)
        assert [list(completion.token_ids) for completion in together] == expected
        alone = [generate(core, [prompt], params)[0] for prompt in prompts]
        assert [list(completion.token_ids) for completion in alone] == expected
        core.check_integrity()
