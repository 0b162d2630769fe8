"""What a 900-token prompt does to 31 streams that are being written when it arrives.

    python -m bench.long_prompt [--dtype float32] [--rounds 3] [--beside 96]

The engine alone with a random model of GPT-2 124M's shapes. A gap is the time between two steps that brought a token of
a stream; told is how much longer the 99th percentile of the gaps is from the long prompt's arrival to its first token
than before, in decode steps (the median gap before).
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the service runs

from bench.figures import Figure, print_table
from bench.random_model import VOCAB_SIZE, write_random_gpt2
from gpt2svc.engine.config import EngineConfig
from gpt2svc.engine.core import EngineCore
from gpt2svc.engine.loader import load_engine
from gpt2svc.engine.sampling_params import SamplingParams
from gpt2svc.engine.types import EngineRequest
from gpt2svc.models.folder import ModelFolder

NUM_STREAMS = 31
NUM_PROMPT_TOKENS = 900
NUM_STEPS_BEFORE = 30
MOST_STEPS = 3.0
STREAM = SamplingParams(seed=0, temperature=1.0, top_k=0, top_p=1.0, repetition_penalty=1.0, max_new_tokens=900)


def measure(dtype: str = "float32", num_rounds: int = 3, beside: int | None = None) -> list[Figure]:
    config = EngineConfig(is_prefix_reuse_enabled=False)
    if beside is not None:
        config = EngineConfig(is_prefix_reuse_enabled=False, max_num_prompt_tokens_beside=beside)
    with tempfile.TemporaryDirectory() as folder:
        core, _ = load_engine(
            ModelFolder.open(write_random_gpt2(Path(folder))), device="cpu", dtype=dtype, config=config
        )
    rounds = [_round(core) for _ in range(num_rounds)]
    return [
        Figure("a decode step of 31 streams", "ms", tuple(1000 * step for step, _, _ in rounds)),
        Figure("gaps, 99 %, longer by", "steps", tuple(more / step for step, more, _ in rounds), MOST_STEPS),
        Figure("to the long prompt's first token", "ms", tuple(1000 * ttft for _, _, ttft in rounds)),
    ]


def _round(core: EngineCore) -> tuple[float, float, float]:
    """A decode step, by how much the slowest gaps grew, and the time to the long prompt's first token, in seconds."""
    for i in range(NUM_STREAMS):
        prompt = tuple((i * 977 + j * 131) % VOCAB_SIZE for j in range(64))
        core.add_request(EngineRequest(f"stream {i}", prompt, STREAM))
    while sum(bool(output.token_ids) for output in core.step()) < NUM_STREAMS:
        pass
    before = [_timed_step(core)[0] for _ in range(NUM_STEPS_BEFORE)]
    long_prompt = tuple(j * 37 % VOCAB_SIZE for j in range(NUM_PROMPT_TOKENS))
    core.add_request(EngineRequest("long", long_prompt, SamplingParams(seed=0, max_new_tokens=4)))
    during: list[float] = []
    is_read = False
    while not is_read:
        seconds, is_read = _timed_step(core)
        during.append(seconds)
    for i in range(NUM_STREAMS):
        core.abort(f"stream {i}")
    while core.has_work:
        core.step()
    return statistics.median(before), _slowest(during) - _slowest(before), sum(during)


def _timed_step(core: EngineCore) -> tuple[float, bool]:
    """Seconds, and whether the long prompt's first token came."""
    start = time.perf_counter()
    outputs = core.step()
    return time.perf_counter() - start, any(output.request_id == "long" and output.token_ids for output in outputs)


def _slowest(gaps: list[float]) -> float:
    return sorted(gaps)[min(len(gaps) - 1, len(gaps) * 99 // 100)]


def main() -> None:
    parser = argparse.ArgumentParser(description="A long prompt among streams.")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--beside", type=int, help="prompt tokens a step beside decoding sequences")
    options = parser.parse_args()
    print_table("A 900-token prompt among 31 streams", measure(options.dtype, options.rounds, options.beside))


if __name__ == "__main__":
    main()
