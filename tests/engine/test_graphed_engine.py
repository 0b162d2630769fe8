"""The whole engine on the GPU path, which runs on a CPU here with a recorder that replays as a CUDA graph does."""

import random

import torch
from transformers import GPT2LMHeadModel

from gpt2svc.engine.config import EngineConfig
from gpt2svc.engine.core import EngineCore
from gpt2svc.engine.generate import generate
from gpt2svc.engine.sampling_params import SamplingParams
from gpt2svc.models.folder import ModelFolder
from gpt2svc.models.gpt2 import GPT2
from gpt2svc.models.graphed_gpt2 import GraphedGPT2
from tests.fakes.graph_recorder import GraphRecorder

NEW_TOKENS = 12


def _new_core(folder: ModelFolder, recorder: GraphRecorder | None) -> EngineCore:
    model = GraphedGPT2(GPT2.from_folder(folder, torch.device("cpu"), torch.float32), recorder)
    config = EngineConfig(max_num_seqs=9, max_num_batched_tokens=48, is_speculation_enabled=False)
    return EngineCore(model, config)


def test_greedy_replies_equal_transformers_while_the_cache_grows(
    references: list[GPT2LMHeadModel], folders: list[ModelFolder]
) -> None:
    for reference, folder in zip(references, folders, strict=True):
        rng = random.Random(0)
        window, vocab_size = folder.config.n_positions, folder.config.vocab_size
        lengths = [1, 2, window - NEW_TOKENS, *(rng.randint(1, 60) for _ in range(15))]
        prompts = [[rng.randrange(vocab_size) for _ in range(length)] for length in lengths]
        expected = []
        for prompt in prompts:
            ids = torch.tensor([prompt])
            with torch.no_grad():
                output = reference.generate(
                    ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW_TOKENS, do_sample=False,
                    eos_token_id=None, pad_token_id=0,
                )  # fmt: skip
            expected.append(output[0, len(prompt) :].tolist())
        recorder = GraphRecorder()
        core = _new_core(folder, recorder)
        params = SamplingParams(seed=0, temperature=0, max_new_tokens=NEW_TOKENS, repetition_penalty=1)
        alone = [list(generate(core, [prompt], params)[0].token_ids) for prompt in prompts[:4]]
        assert alone == expected[:4]
        assert [list(completion.token_ids) for completion in generate(core, prompts, params)] == expected
        core.check_integrity()
        assert "release" in recorder.events  # from memory for four sequences to that for nine
        assert recorder.events.count("replay") > 10


def test_beams_and_reused_prefixes_are_those_of_the_ordinary_engine(folders: list[ModelFolder]) -> None:
    folder = folders[2]
    prompt = [random.Random(1).randrange(folder.config.vocab_size) for _ in range(90)]
    requests = [
        SamplingParams(seed=0, max_new_tokens=NEW_TOKENS, num_beams=4),
        SamplingParams(seed=7, max_new_tokens=NEW_TOKENS, temperature=0.8, top_k=20),
    ]
    plain = EngineCore(GPT2.from_folder(folder, torch.device("cpu"), torch.float32), EngineConfig(max_num_seqs=9))
    core = _new_core(folder, GraphRecorder())
    for params in requests:
        prompts = [prompt, prompt[:70], prompt[:80]]
        expected = [completion.token_ids for completion in generate(plain, prompts, params)]
        assert [completion.token_ids for completion in generate(core, prompts, params)] == expected
        core.check_integrity()
