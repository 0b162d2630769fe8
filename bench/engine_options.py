"""What measurements of the engine beside transformers share: options, shapes, the clock, and a random model."""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.utils import logging

SHAPES: Final[dict[str, dict[str, Any]]] = {
    "gpt2": {},
    "tiny": {"n_layer": 4, "n_embd": 256, "n_head": 4, "vocab_size": 8192},
}


def timing_parser(description: str, *, num_new: int) -> argparse.ArgumentParser:
    """--prompt, --new, --rounds, --threads, --cpu-time."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--prompt", type=int, default=64)
    parser.add_argument("--new", type=int, default=num_new)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--cpu-time", action="store_true", help="on a busy machine, with --threads 1: processor time")
    return parser


def decoding_parser(description: str, *, num_new: int) -> argparse.ArgumentParser:
    """Those of `timing_parser`, and --shape, --batches, --dtypes."""
    parser = timing_parser(description, num_new=num_new)
    parser.add_argument("--shape", choices=SHAPES, default="gpt2")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    return parser


def parsed(parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options; transformers says nothing of its own from here on."""
    options = parser.parse_args(arguments)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    return options


def clock_of(options: argparse.Namespace) -> Callable[[], float]:
    return time.process_time if options.cpu_time else time.perf_counter


def random_reference(shape: str) -> GPT2LMHeadModel:
    """transformers' model in one of SHAPES."""
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(**SHAPES[shape], bos_token_id=0, eos_token_id=0)).eval()
