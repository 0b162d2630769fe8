"""Prompt look-up decoding on and off: the same tokens, and how many times as fast, in one run on one machine.

    python -m bench.speculation [--shape gpt2|tiny] [--dtypes float32 bfloat16] [--batches 1 8 32] [--new 128]

Random weights. Greedy replies of such a model repeat themselves soon; replies sampled from its whole distribution never
do. The ratio is the median over rounds, in which the two ways alternate; beside it how many tokens a step brought.
"""

import argparse
import os
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the service runs

import torch

from bench.engine_options import clock_of, decoding_parser, parsed, random_reference
from gpt2svc.engine.config import EngineConfig
from gpt2svc.engine.core import EngineCore
from gpt2svc.engine.device import resolve_dtype, set_num_threads
from gpt2svc.engine.generate import generate
from gpt2svc.engine.sampling_params import SamplingParams
from gpt2svc.models.folder import ModelFolder
from gpt2svc.models.gpt2 import GPT2

TEXTS = {
    "repeats itself": SamplingParams(seed=0, temperature=0, repetition_penalty=1.0),
    "does not": SamplingParams(seed=0, temperature=1.0, top_k=0, top_p=1.0, repetition_penalty=1.0),
}


def main() -> None:
    options = parsed(decoding_parser("Prompt look-up decoding on and off.", num_new=128))
    reference = random_reference(options.shape)
    print(
        f"{options.shape}, {options.prompt} + {options.new} tokens: look-up off (tokens/s), on (ratio), tokens a step"
    )
    with tempfile.TemporaryDirectory() as folder:
        reference.save_pretrained(folder)
        opened = ModelFolder.open(Path(folder))
        device = torch.device("cpu")
        set_num_threads(options.threads)
        for dtype in options.dtypes:
            model = GPT2.from_folder(opened, device, resolve_dtype(dtype, device))
            for batch in options.batches:
                for text, params in TEXTS.items():
                    _compare(model, dtype, batch, text, params, options)


def _compare(
    model: GPT2, dtype: str, batch: int, text: str, params: SamplingParams, options: argparse.Namespace
) -> None:
    cores = [
        EngineCore(
            model,
            EngineConfig(max_num_seqs=batch, is_prefix_reuse_enabled=False, is_speculation_enabled=is_enabled),
        )
        for is_enabled in (False, True)
    ]
    prompts = torch.randint(1, model.vocab_size, (batch, options.prompt)).tolist()
    params = replace(params, max_new_tokens=options.new)
    clock = clock_of(options)
    seconds: list[list[float]] = [[], []]
    replies: list[object] = [None, None]
    num_steps = 0
    for _ in range(options.rounds + 1):  # the first one warms up
        for i, core in enumerate(cores):
            before, start = core.stats.num_steps, clock()
            replies[i] = [completion.token_ids for completion in generate(core, prompts, params)]
            seconds[i].append(clock() - start)
            num_steps = core.stats.num_steps - before
    if replies[0] != replies[1]:
        raise SystemExit("The replies differ.")
    off = batch * options.new / statistics.median(seconds[0][1:])
    ratio = statistics.median(a / b for a, b in zip(seconds[0][1:], seconds[1][1:], strict=True))
    print(f"{dtype:9} {batch:3}  {text:15} {off:8.1f}  {ratio:5.2f}  {options.new / num_steps:5.2f}", flush=True)


if __name__ == "__main__":
    main()
