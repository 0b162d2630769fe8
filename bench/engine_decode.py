"""Decoding speed of the engine beside transformers' `generate`, in one run on one machine.

    python -m bench.engine_decode [--batches 1 8 32] [--dtypes float32 bfloat16] [--prompt 64] [--new 64]

GPT-2 124M shapes (or --shape tiny: 4 layers, width 256) with random weights. Prints tokens a second over prompt
reading and decoding, the median of the rounds, and the ratio; ours greedy and with the default sampling settings,
since choosing a token costs something too. Rounds alternate, so that other work on the machine meets each alike.
"""

import argparse
import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from transformers import GPT2LMHeadModel

from bench.engine_options import clock_of, decoding_parser, parsed, random_reference
from gpt2svc.engine.config import EngineConfig
from gpt2svc.engine.core import EngineCore
from gpt2svc.engine.generate import generate
from gpt2svc.engine.loader import load_engine
from gpt2svc.engine.sampling_params import SamplingParams
from gpt2svc.models.folder import ModelFolder


def main() -> None:
    parser = decoding_parser("Decoding speed beside transformers.", num_new=64)
    parser.add_argument("--device", default="cpu")
    options = parsed(parser)
    reference = random_reference(options.shape)
    print(f"{options.shape}, {options.prompt} + {options.new} tokens, tokens/s (ratio to transformers)")
    print("dtype      batch  transformers        greedy       sampled")
    with tempfile.TemporaryDirectory() as folder:
        reference.save_pretrained(folder)
        opened = ModelFolder.open(Path(folder))
        for dtype in options.dtypes:
            # Greedy text of random weights repeats itself: look-up would win by that, whatever a step costs.
            config = EngineConfig(
                max_num_seqs=max(options.batches), num_threads=options.threads, is_speculation_enabled=False
            )
            core, info = load_engine(opened, device=options.device, dtype=dtype, config=config)
            model = reference.to(device=info.device, dtype=getattr(torch, dtype))
            for batch in options.batches:
                _compare(model, core, info.dtype, batch, options)


def _compare(model: GPT2LMHeadModel, core: EngineCore, dtype: str, batch: int, options: argparse.Namespace) -> None:
    prompts = torch.randint(1, model.config.vocab_size, (batch, options.prompt)).tolist()
    greedy = SamplingParams(seed=0, temperature=0, repetition_penalty=1.0, max_new_tokens=options.new)
    sampled = SamplingParams(seed=0, max_new_tokens=options.new)

    def by_transformers() -> None:
        ids = torch.tensor(prompts, device=model.device)
        with torch.no_grad():
            model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                max_new_tokens=options.new,
                min_new_tokens=options.new,
                pad_token_id=0,
            )

    ways: list[Callable[[], object]] = [
        by_transformers,
        lambda: generate(core, prompts, greedy),
        lambda: generate(core, prompts, sampled),
    ]
    seconds: list[list[float]] = [[], [], []]
    clock = clock_of(options)
    for _ in range(options.rounds):
        for way, times in zip(ways, seconds, strict=True):
            _forget_prefixes(core, options.prompt)
            start = clock()
            way()
            times.append(clock() - start)
    speeds = [batch * options.new / statistics.median(times) for times in seconds]
    cells = "".join(f"{speed:8.1f} ({speed / speeds[0]:4.2f})" for speed in speeds[1:])
    print(f"{dtype:10} {batch:5}  {speeds[0]:12.1f} {cells}", flush=True)


def _forget_prefixes(core: EngineCore, prompt_length: int) -> None:
    """Fill every slot with something else, or the second round would find its prompts in the KV cache."""
    other = SamplingParams(seed=0, temperature=0, max_new_tokens=1)
    generate(core, [[0] * 2] * core.stats.num_slots, other)


if __name__ == "__main__":
    main()
