"""Processor time of a decode step by weight format, with kernels of our own and through torch, in one process.

    python -m bench.weight_bits [--streams 1 8 32] [--rounds 40] [--formats bfloat16 int8 int4 torch-int4]
        [--level avx2] [--dtype float32]

GPT-2 124M shapes, random weights, one thread, 96 positions a stream. Each round takes one step of every format in
turn; shown are medians of the calling thread's time, and of each round's ratio to the last format. Compare ratios:
other work on the machine slows every format, but not each alike where memory is the limit.

`--level` takes the kernels of a humbler processor, after `python -m gpt2svc.models.native.build --all`; torch is held
to AVX2 by ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 in its environment.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple

import torch

from bench.random_model import write_random_gpt2
from gpt2svc.models.chunk import Chunk
from gpt2svc.models.folder import ModelFolder
from gpt2svc.models.loading import load_model
from gpt2svc.models.native.levels import LEVELS
from gpt2svc.models.native.library import FOLDER, NativeLibrary
from gpt2svc.models.quantization import Quantization

_POSITIONS: Final = 96


class Format(NamedTuple):
    dtype: torch.dtype
    quantize: Quantization
    is_native: bool


FORMATS: Final = {
    "float32": Format(torch.float32, "none", True),
    "bfloat16": Format(torch.bfloat16, "none", True),
    "int8": Format(torch.bfloat16, "int8", True),
    "int4": Format(torch.bfloat16, "int4", True),
    "torch-float32": Format(torch.float32, "none", False),
    "torch-bfloat16": Format(torch.bfloat16, "none", False),
    "torch-int8": Format(torch.bfloat16, "int8", False),
    "torch-int4": Format(torch.bfloat16, "int4", False),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Processor time of a decode step by weight format.")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=["bfloat16", "int8", "torch-int4", "int4"])
    parser.add_argument("--level", choices=[level.name for level in LEVELS], help="of the kernels")
    parser.add_argument(
        "--dtype", choices=["float32", "bfloat16"], default="bfloat16", help="of attention with int8 and int4"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    library = NativeLibrary.find()
    if options.level is not None:
        library = NativeLibrary(FOLDER / next(level.library_name for level in LEVELS if level.name == options.level))
    with tempfile.TemporaryDirectory() as scratch:
        folder = ModelFolder.open(write_random_gpt2(Path(scratch)))
        formats = {name: FORMATS[name] for name in options.formats}
        for name, kind in formats.items():
            if kind.quantize != "none":
                formats[name] = kind._replace(dtype=getattr(torch, options.dtype))
        most = max(options.streams)
        steps = {name: _Steps(folder, kind, most, library) for name, kind in formats.items()}
    for name, step in steps.items():
        print(f"{name}: {step.num_bytes / 1e6:.0f} MB of weights, loaded in {step.load_s:.1f} s of processor time")
    last = options.formats[-1]
    print("streams  " + "  ".join(f"{name:>15} (to {last})" for name in options.formats))
    for streams in options.streams:
        for step in steps.values():
            step.prepare(streams)
        rounds = [{name: step.take(streams) for name, step in steps.items()} for _ in range(options.rounds)]
        cells = []
        for name in options.formats:
            took = statistics.median(times[name] for times in rounds)
            ratio = statistics.median(times[name] / times[last] for times in rounds)
            cells.append(f"{1e3 * took:>12.2f} ms ({ratio:.2f})".rjust(21 + len(last)))
        print(f"{streams:7}  " + "  ".join(cells))


class _Steps:
    """Decode steps of one format, each writing the position after the last prompt token again."""

    def __init__(self, folder: ModelFolder, kind: Format, num_slots: int, library: NativeLibrary | None) -> None:
        start = time.process_time()
        library = library if kind.is_native else None
        self._model = load_model(folder, torch.device("cpu"), kind.dtype, quantize=kind.quantize, library=library)
        self.load_s = time.process_time() - start
        self.num_bytes = self._model.num_bytes
        self._cache = self._model.new_cache(num_slots)

    def prepare(self, streams: int) -> None:
        with torch.inference_mode():
            for slot in range(streams):
                self._model.forward([Chunk(slot, 0, range(1, _POSITIONS), False)], self._cache)
        self.take(streams)

    def take(self, streams: int) -> float:
        chunks = [Chunk(slot, _POSITIONS - 1, [7 + slot], True) for slot in range(streams)]
        with torch.inference_mode():
            start = time.thread_time()
            self._model.forward(chunks, self._cache)
            return time.thread_time() - start


if __name__ == "__main__":
    main()
