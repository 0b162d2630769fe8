"""Engines that decode the same checkpoint, each behind the same calls; bench/peer_process.py gives each a process."""

import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Final, Protocol

import torch

from bench.gguf_file import write_gguf
from gpt2svc.engine.config import EngineConfig
from gpt2svc.engine.generate import generate
from gpt2svc.engine.loader import load_engine
from gpt2svc.engine.sampling_params import SamplingParams
from gpt2svc.models.folder import ModelFolder


class Engine(Protocol):
    name: str

    def __init__(self, checkpoint: Path, kind: str, max_batch: int, num_threads: int) -> None: ...

    def seconds(self, batch: int, num_prompt: int, num_new: int) -> float:
        """That a batch of prompts took, from their tokens to the last new one."""
        ...


def write_checkpoint(folder: Path) -> Path:
    """GPT-2 124M with random weights, and a vocabulary of words that stand for their numbers."""
    from tokenizers import Tokenizer, models
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    torch.manual_seed(0)
    config = GPT2Config(bos_token_id=0, eos_token_id=0)
    GPT2LMHeadModel(config).save_pretrained(folder)
    words = {f"t{i}": i for i in range(config.vocab_size)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="t0"))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="t0", eos_token="t0", unk_token="t0").save_pretrained(
        folder
    )
    return folder


def _prompts(batch: int, num_prompt: int) -> list[list[int]]:
    return torch.randint(1, 50257, (batch, num_prompt)).tolist()


class Ours:
    def __init__(self, checkpoint: Path, kind: str, max_batch: int, num_threads: int) -> None:
        self.name = f"gpt2svc {kind}"
        config = EngineConfig(max_num_seqs=max_batch, num_threads=num_threads, is_speculation_enabled=False)
        self._core, _ = load_engine(
            ModelFolder.open(checkpoint),
            device="cpu",
            dtype="auto" if kind == "int8" else kind,
            quantize="int8" if kind == "int8" else "none",
            config=config,
        )

    def seconds(self, batch: int, num_prompt: int, num_new: int) -> float:
        # Fill every slot with something else, or a prompt might be found in the KV cache.
        other = SamplingParams(seed=0, temperature=0, max_new_tokens=1)
        generate(self._core, [[0] * 2] * self._core.stats.num_slots, other)
        prompts = _prompts(batch, num_prompt)
        params = SamplingParams(seed=0, temperature=0, repetition_penalty=1.0, max_new_tokens=num_new)
        start = time.perf_counter()
        results = generate(self._core, prompts, params)
        seconds = time.perf_counter() - start
        if any(len(result.token_ids) != num_new for result in results):
            raise RuntimeError(f"{self.name}: not {num_new} tokens each")
        return seconds


class Transformers:
    def __init__(self, checkpoint: Path, kind: str, max_batch: int, num_threads: int) -> None:
        from transformers import GPT2LMHeadModel
        from transformers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        self.name = f"transformers {kind}"
        self._model = GPT2LMHeadModel.from_pretrained(checkpoint, dtype=getattr(torch, kind)).eval()
        torch.set_num_threads(num_threads)

    def seconds(self, batch: int, num_prompt: int, num_new: int) -> float:
        ids = torch.tensor(_prompts(batch, num_prompt))
        start = time.perf_counter()
        with torch.no_grad():
            self._model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                max_new_tokens=num_new,
                min_new_tokens=num_new,
                pad_token_id=0,
            )
        return time.perf_counter() - start


class CTranslate2:
    def __init__(self, checkpoint: Path, kind: str, max_batch: int, num_threads: int) -> None:
        import ctranslate2
        from ctranslate2.converters import TransformersConverter

        self.name = f"CTranslate2 {kind}"
        with tempfile.TemporaryDirectory() as folder:
            TransformersConverter(str(checkpoint)).convert(folder, force=True)
            self._generator: Any = ctranslate2.Generator(
                folder, device="cpu", compute_type=kind, inter_threads=1, intra_threads=num_threads
            )

    def seconds(self, batch: int, num_prompt: int, num_new: int) -> float:
        prompts = [[f"t{token}" for token in prompt] for prompt in _prompts(batch, num_prompt)]
        start = time.perf_counter()
        results = self._generator.generate_batch(
            prompts, max_length=num_new, min_length=num_new, beam_size=1, include_prompt_in_result=False, end_token=[]
        )
        seconds = time.perf_counter() - start
        if any(len(result.sequences_ids[0]) != num_new for result in results):
            raise RuntimeError(f"{self.name}: not {num_new} tokens each")
        return seconds


class LlamaCpp:
    """Its own benchmark, as a program: it reads the prompts and decodes all sequences in one batch."""

    def __init__(self, checkpoint: Path, kind: str, max_batch: int, num_threads: int) -> None:
        self.name = f"llama.cpp {kind}"
        self._program = _batched_bench() or ""
        self._num_threads = num_threads
        self._folder = tempfile.TemporaryDirectory()
        self._file = Path(self._folder.name) / f"{kind}.gguf"
        write_gguf(checkpoint, self._file, kind)

    def seconds(self, batch: int, num_prompt: int, num_new: int) -> float:
        threads = str(self._num_threads)
        context = str(max(1024, 2 * batch * (num_prompt + num_new)))
        command = [
            self._program, "-m", str(self._file), "-c", context, "-npp", str(num_prompt), "-ntg", str(num_new),
            "-npl", str(batch), "-t", threads, "-tb", threads,
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        # | PP | TG | B | N_KV | T_PP s | S_PP t/s | T_TG s | S_TG t/s | T s | S t/s |
        rows = [line.strip("| \n").split("|") for line in done.stdout.splitlines() if line.startswith("|")]
        return float(rows[-1][8])


ENGINES: Final[dict[str, type[Engine]]] = {
    "gpt2svc": Ours,
    "transformers": Transformers,
    "CTranslate2": CTranslate2,
    "llama.cpp": LlamaCpp,
}


def missing(engine: str) -> str | None:
    """What would have to be installed; None where all is there."""
    package = {"CTranslate2": "ctranslate2", "llama.cpp": "gguf"}.get(engine)
    if package and not importlib.util.find_spec(package):
        return "pip install 'gpt2svc[bench]'"
    if engine == "llama.cpp" and not _batched_bench():
        return "no llama-batched-bench on the PATH or in LLAMA_BATCHED_BENCH"
    return None


def _batched_bench() -> str | None:
    return os.environ.get("LLAMA_BATCHED_BENCH") or shutil.which("llama-batched-bench")
