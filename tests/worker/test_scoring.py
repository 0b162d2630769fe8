"""Scoring and pooling through a worker process of its own: a random model, torch, frames and all."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import GPT2LMHeadModel

from gpt2svc.engine.types import Pooling, Scoring
from gpt2svc.errors import EngineError
from gpt2svc.models.catalogue import ModelCatalogue
from gpt2svc.worker.client import WorkerClient
from gpt2svc.worker.options import WorkerOptions
from gpt2svc.worker.pooling import pool_prompt
from gpt2svc.worker.scoring import score_prompt
from tests.fakes.checkpoints import random_gpt2
from tests.fakes.tokenizer import TINY_EOS_ID, TINY_VOCAB_SIZE, write_tokenizer_folder
from tests.worker.messages import request

N_POSITIONS = 48


@pytest.fixture(scope="module")
def reference() -> GPT2LMHeadModel:
    ids = {"bos_token_id": TINY_EOS_ID, "eos_token_id": TINY_EOS_ID}
    return random_gpt2(5, vocab_size=TINY_VOCAB_SIZE, n_positions=N_POSITIONS, n_embd=32, n_layer=2, **ids)


async def test_scores_come_back_while_replies_are_written(reference: GPT2LMHeadModel, tmp_path: Path) -> None:
    folder = write_tokenizer_folder(tmp_path / "model")
    reference.save_pretrained(folder)
    client = WorkerClient(WorkerOptions(str(folder), models_dir=str(tmp_path), allow_folder=True, device="cpu"),
                          ModelCatalogue(tmp_path))  # fmt: skip
    client.start()
    prompt = tuple(range(3, 3 + N_POSITIONS))

    async def written(request_id: str) -> list[int]:
        outputs = client.submit(request(request_id, max_new_tokens=20))
        return [token_id async for output in outputs for token_id in output.token_ids]

    try:
        alone = await written("alone")
        everything = Scoring(num_top=5, num_next=7, has_distribution=True)
        scores, pooled, *replies = await asyncio.gather(
            score_prompt(client, "score", prompt, everything),
            pool_prompt(client, "pool", prompt, Pooling("mean")),
            *(written(str(i)) for i in range(4)),
        )
        assert replies == [alone] * 4
        with torch.no_grad():
            logprobs = torch.log_softmax(reference(torch.tensor([prompt])).logits[0], -1)
            hidden = reference.transformer(torch.tensor([prompt])).last_hidden_state[0]
        assert pooled.vector == pytest.approx(hidden.mean(0).tolist(), abs=1e-5)
        assert [score.logprob for score in scores.logprobs] == pytest.approx(
            logprobs[:-1].gather(1, torch.tensor(prompt[1:]).unsqueeze(1)).squeeze(1).tolist(), abs=1e-4
        )
        assert all(len(score.top) == 5 for score in scores.logprobs)
        assert scores.next_token is not None
        assert scores.next_token.distribution is not None
        assert np.frombuffer(scores.next_token.distribution, "<f4") == pytest.approx(logprobs[-1].numpy(), abs=1e-4)
        assert len(scores.next_token.top) == 7
        with pytest.raises(EngineError, match="window"):
            await score_prompt(client, "long", (*prompt, 1), Scoring())
        with pytest.raises(EngineError, match="window"):
            await pool_prompt(client, "long", (*prompt, 1), Pooling())
        assert client.num_requests == 0
    finally:
        await client.aclose()
