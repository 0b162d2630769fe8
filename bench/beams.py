"""Beam search: beside so many greedy sequences, and beside transformers, in one run on one machine.

    python -m bench.beams [--beams 4 8] [--prompt 64] [--new 32] [--rounds 3] [--threads 1 --cpu-time]

GPT-2 124M's shapes with random weights, float32. The ratios are medians over rounds, in which the three ways alternate.
"""

import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the service runs

import torch
from transformers import GPT2LMHeadModel

from bench.engine_options import clock_of, parsed, timing_parser
from bench.random_model import VOCAB_SIZE, write_random_gpt2
from gpt2svc.engine.config import EngineConfig
from gpt2svc.engine.core import EngineCore
from gpt2svc.engine.device import set_num_threads
from gpt2svc.engine.generate import generate
from gpt2svc.engine.sampling_params import SamplingParams
from gpt2svc.models.folder import ModelFolder
from gpt2svc.models.gpt2 import GPT2


def main() -> None:
    parser = timing_parser("Beam search beside greedy sequences and transformers.", num_new=32)
    parser.add_argument("--beams", type=int, nargs="+", default=[4, 8])
    options = parsed(parser)
    clock = clock_of(options)
    set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        reference = GPT2LMHeadModel.from_pretrained(write_random_gpt2(Path(folder))).eval()
        opened = ModelFolder.open(Path(folder))
        model = GPT2.from_folder(opened, torch.device("cpu"), torch.float32)
        core = EngineCore(model, EngineConfig(max_num_seqs=max(options.beams), is_prefix_reuse_enabled=False))
    prompt = torch.randint(VOCAB_SIZE, (options.prompt,)).tolist()
    print(f"{options.prompt} + {options.new} tokens: seconds of a search, of as many greedy sequences, of transformers")
    for num_beams in options.beams:
        ways = _ways(core, reference, prompt, num_beams, options.new)
        for way in ways:
            way()
        rounds = [[_measured(way, clock) for way in ways] for _ in range(options.rounds)]
        search, greedy, theirs = (statistics.median(each[i] for each in rounds) for i in range(3))
        to_greedy = statistics.median(each[0] / each[1] for each in rounds)
        to_theirs = statistics.median(each[2] / each[0] for each in rounds)
        print(f"{num_beams} beams: {search:.2f}, {greedy:.2f} ({to_greedy:.2f}), {theirs:.2f} ({to_theirs:.2f})")


def _ways(
    core: EngineCore, reference: GPT2LMHeadModel, prompt: list[int], num_beams: int, num_new: int
) -> list[Callable[[], object]]:
    beams = SamplingParams(seed=0, max_new_tokens=num_new, repetition_penalty=1.0, num_beams=num_beams)
    greedy = SamplingParams(seed=0, max_new_tokens=num_new, repetition_penalty=1.0, temperature=0)
    ids = torch.tensor([prompt])

    def theirs() -> None:
        with torch.inference_mode():
            reference.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                num_beams=num_beams,
                do_sample=False,
                max_new_tokens=num_new,
                eos_token_id=None,
                pad_token_id=1,
            )

    return [lambda: generate(core, [prompt], beams), lambda: generate(core, [prompt] * num_beams, greedy), theirs]


def _measured(way: Callable[[], object], clock: Callable[[], float]) -> float:
    start = clock()
    way()
    return clock() - start


if __name__ == "__main__":
    main()
