"""A tiny GPT-2 checkpoint on disk, valid or wrong in a chosen way."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from tests.fakes.tokenizer import TINY_EOS_ID, TINY_VOCAB_SIZE, write_tokenizer_folder

TINY_CONFIG: dict[str, Any] = {
    "model_type": "gpt2",
    "architectures": ["GPT2LMHeadModel"],
    "vocab_size": TINY_VOCAB_SIZE,
    "n_positions": 32,
    "n_embd": 8,
    "n_layer": 2,
    "n_head": 2,
    "bos_token_id": TINY_EOS_ID,
    "eos_token_id": TINY_EOS_ID,
    "dtype": "float32",
}


def tiny_tensors(prefix: str = "transformer.", seed: int = 0) -> dict[str, np.ndarray]:
    """What transformers saves for TINY_CONFIG; the output layer is tied, so it is left out."""
    config = TINY_CONFIG
    embd = config["n_embd"]
    shapes: dict[str, tuple[int, ...]] = {"wte.weight": (config["vocab_size"], embd)}
    shapes["wpe.weight"] = (config["n_positions"], embd)
    for i in range(config["n_layer"]):
        shapes |= {f"h.{i}.{name}.{kind}": (embd,) for name in ("ln_1", "ln_2") for kind in ("weight", "bias")}
        for name, rows, columns in (
            ("attn.c_attn", embd, 3 * embd),
            ("attn.c_proj", embd, embd),
            ("mlp.c_fc", embd, 4 * embd),
            ("mlp.c_proj", 4 * embd, embd),
        ):
            shapes |= {f"h.{i}.{name}.weight": (rows, columns), f"h.{i}.{name}.bias": (columns,)}
    shapes |= {"ln_f.weight": (embd,), "ln_f.bias": (embd,)}
    random = np.random.default_rng(seed)
    return {prefix + name: random.normal(0, 0.02, shape).astype(np.float32) for name, shape in shapes.items()}


def write_checkpoint(
    folder: Path,
    *,
    config: Mapping[str, Any] | None = None,
    tensors: Mapping[str, np.ndarray] | None = None,
    with_tokenizer: bool = True,
) -> Path:
    """config.json (TINY_CONFIG with `config` laid over it; None removes a key), model.safetensors, tokenizer.json."""
    folder.mkdir(parents=True, exist_ok=True)
    write_config(folder, **(config or {}))
    weights = tiny_tensors() if tensors is None else dict(tensors)
    (folder / "model.safetensors").write_bytes(save(weights, metadata={"format": "pt"}))
    if with_tokenizer:
        write_tokenizer_folder(folder)
    return folder


def write_config(folder: Path, **changes: Any) -> None:
    merged = {key: value for key, value in {**TINY_CONFIG, **changes}.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(merged), encoding="utf-8")


def write_sharded_checkpoint(folder: Path, num_shards: int = 2) -> Path:
    """The same weights in several files under an index."""
    write_checkpoint(folder)
    (folder / "model.safetensors").unlink()
    tensors = tiny_tensors()
    weight_map = {}
    for shard in range(num_shards):
        name = f"model-{shard + 1:05d}-of-{num_shards:05d}.safetensors"
        part = dict(list(tensors.items())[shard::num_shards])
        (folder / name).write_bytes(save(part, metadata={"format": "pt"}))
        weight_map |= dict.fromkeys(part, name)
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder


def safetensors_bytes(
    header: Mapping[str, Any] | str | bytes, data: bytes = b"", *, length: int | None = None
) -> bytes:
    """A safetensors file with any header at all; `length` is what its first 8 bytes claim, by default the truth."""
    if isinstance(header, Mapping):
        header = json.dumps(header)
    if isinstance(header, str):
        header = header.encode("utf-8")
    return (len(header) if length is None else length).to_bytes(8, "little") + header + data
