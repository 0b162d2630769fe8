"""Decoding speed beside other engines, in one run on one machine: transformers, CTranslate2 and llama.cpp.

    python -m bench.peers [--batches 1 8 32] [--kinds float32 bfloat16 int8] [--threads 2] [--rounds 3]

GPT-2 124M shapes with random weights, prompts of 64 tokens, 64 new ones each, greedy, prompts read included; no engine
speculates. Each has a process of its own. A round runs every engine once, so that other work on the machine meets all
alike; figures are medians of the rounds. CTranslate2 comes with the extra `bench`; llama.cpp is its
`llama-batched-bench`, from the PATH or named by LLAMA_BATCHED_BENCH, on a file that the extra's `gguf` writes. What
isn't there is left out, and said so.
"""

import argparse
import os
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from bench.figures import Figure, print_table
from bench.peer_engines import missing, write_checkpoint
from bench.peer_process import PeerProcess

# (ours, another engine, its kind, by batch: how many times as fast ours should be)
TARGETS: dict[tuple[str, str], dict[int, float]] = {
    ("float32", "CTranslate2 float32"): {1: 1.0, 8: 1.6, 32: 2.2},
    ("bfloat16", "transformers bfloat16"): {1: 1.9, 8: 1.9, 32: 1.9},
    ("int8", "CTranslate2 int8"): {1: 1.5, 8: 1.8, 32: 1.8},
    ("bfloat16", "llama.cpp bf16"): {1: 1.0, 8: 1.5, 32: 2.0},
    ("int8", "llama.cpp q8_0"): {1: 1.0, 8: 1.5, 32: 2.0},
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Decoding speed beside other engines.")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--kinds", nargs="+", default=["float32", "bfloat16", "int8"])
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prompt", type=int, default=64)
    parser.add_argument("--new", type=int, default=64)
    options = parser.parse_args()
    print_table(
        f"GPT-2 124M, {options.prompt} + {options.new} tokens, {options.threads} threads",
        measure(options.kinds, options.batches, options.threads, options.rounds, options.prompt, options.new),
    )


def measure(
    kinds: Sequence[str] = ("float32", "bfloat16", "int8"),
    batches: Sequence[int] = (1, 8, 32),
    num_threads: int | None = None,
    num_rounds: int = 3,
    num_prompt: int = 64,
    num_new: int = 64,
) -> list[Figure]:
    """Tokens a second of each engine, and ours as a multiple of each of the others."""
    num_threads = num_threads or os.cpu_count() or 1
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = write_checkpoint(Path(folder) / "checkpoint")
        for kind in kinds:
            with ExitStack() as stack:
                peers = [stack.enter_context(peer) for peer in _peers(kind, checkpoint, max(batches), num_threads)]
                for batch in batches:
                    figures += _compare(kind, peers, batch, num_rounds, num_prompt, num_new)
    return figures


def _peers(kind: str, checkpoint: Path, max_batch: int, num_threads: int) -> Iterator[PeerProcess]:
    yield PeerProcess("gpt2svc", checkpoint, kind, max_batch, num_threads)
    others = {
        "float32": [("transformers", "float32"), ("CTranslate2", "float32"), ("llama.cpp", "f32")],
        "bfloat16": [("transformers", "bfloat16"), ("llama.cpp", "bf16")],
        "int8": [("CTranslate2", "int8"), ("llama.cpp", "q8_0")],
    }[kind]
    for engine, its_kind in others:
        reason = missing(engine)
        if reason:
            print(f"{engine} is left out: {reason}.", flush=True)
        else:
            yield PeerProcess(engine, checkpoint, its_kind, max_batch, num_threads)


def _compare(
    kind: str, peers: Sequence[PeerProcess], batch: int, num_rounds: int, num_prompt: int, num_new: int
) -> list[Figure]:
    speeds: list[list[float]] = [[] for _ in peers]
    for peer in peers:  # memory is handed out and kernels are chosen at the first use
        peer.seconds(batch, num_prompt, 8)
    for _ in range(num_rounds):
        for peer, runs in zip(peers, speeds, strict=True):
            runs.append(batch * num_new / peer.seconds(batch, num_prompt, num_new))
    figures = [
        Figure(f"{peer.name}, {batch} streams", "tok/s", tuple(runs)) for peer, runs in zip(peers, speeds, strict=True)
    ]
    own = statistics.median(speeds[0])
    for peer, runs in zip(peers[1:], speeds[1:], strict=True):
        target = TARGETS.get((kind, peer.name), {}).get(batch)
        ratio = own / statistics.median(runs)
        figures.append(
            Figure(f"gpt2svc {kind} / {peer.name}, {batch} streams", "x", (ratio,), target, is_more_better=True)
        )
    return figures


if __name__ == "__main__":
    main()
