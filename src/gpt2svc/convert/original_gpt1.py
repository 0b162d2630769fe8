"""OpenAI's GPT-1 checkpoint: numpy shards of one long row of numbers, and params_shapes.json that says how to cut it.

The order is that in which the model made its variables: positions, tokens, then layer by layer. Its width says nothing
of its heads: there are 12, as in the only model that was published.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from gpt2svc.convert.original_gpt2 import write_vocabulary
from gpt2svc.convert.safetensors_file import write_float32_file
from gpt2svc.errors import ModelFormatError
from gpt2svc.models.json_file import parse_json_object, read_bytes, read_json_object
from gpt2svc.models.weight_files import WEIGHTS_NAME

SHAPES_NAME: Final = "params_shapes.json"
ENCODER_NAME: Final = "encoder_bpe_40000.json"
BPE_NAME: Final = "vocab_40000.bpe"

_NUM_HEADS: Final = 12
_LAYER_TENSORS: Final = tuple(
    f"{part}.{kind}"
    for part in ("attn.c_attn", "attn.c_proj", "ln_1", "mlp.c_fc", "mlp.c_proj", "ln_2")
    for kind in ("weight", "bias")
)
_MAX_SHAPES_BYTES: Final = 1 << 20
_MAX_VOCABULARY_BYTES: Final = 64 << 20
_MAX_VALUES: Final = 1 << 31
_MAX_SHARDS: Final = 1000
_WRITE_VALUES: Final = 4 << 20


def find_shards(source: Path) -> Path | None:
    """The folder with the shapes: `source`, or `model` in it. None where there is none."""
    for folder in (source, source / "model"):
        if (folder / SHAPES_NAME).is_file():
            return folder
    return None


def convert_original_gpt1(folder: Path, target: Path) -> None:
    """Write a model folder of transformers' `openai-gpt` into the empty folder `target`.

    Raises ModelFormatError for what is missing, damaged or no GPT-1.
    """
    shapes = _named_shapes(folder / SHAPES_NAME)
    values = _values(folder)
    if len(values) != sum(map(math.prod, shapes.values())):
        raise ModelFormatError(
            f"The shards hold {len(values):,} numbers, but {SHAPES_NAME} asks for "
            f"{sum(map(math.prod, shapes.values())):,}: one is missing or damaged.",
            field=SHAPES_NAME,
        )
    vocab_size, n_embd = shapes["tokens_embed.weight"]
    vocabulary = read_json_object(folder / ENCODER_NAME, max_bytes=_MAX_VOCABULARY_BYTES)
    if len(vocabulary) > vocab_size:
        raise ModelFormatError(
            f"{ENCODER_NAME} has {len(vocabulary):,} tokens where the weights have {vocab_size:,}.", field=ENCODER_NAME
        )
    config = {
        "architectures": ["OpenAIGPTLMHeadModel"],
        "model_type": "openai-gpt",
        "vocab_size": vocab_size,
        "n_positions": shapes["positions_embed.weight"][0],
        "n_embd": n_embd,
        "n_layer": (len(shapes) - 2) // len(_LAYER_TENSORS),
        "n_head": _NUM_HEADS,
        "afn": "gelu",
        "layer_norm_epsilon": 1e-5,
        "dtype": "float32",
    }
    tokenizer = {
        "tokenizer_class": "OpenAIGPTTokenizer",
        "unk_token": "<unk>",
        "model_max_length": config["n_positions"],
    }
    (target / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    (target / "tokenizer_config.json").write_text(json.dumps(tokenizer, indent=2) + "\n", encoding="utf-8")
    write_vocabulary(folder / ENCODER_NAME, folder / BPE_NAME, target)

    def contents() -> Iterator[tuple[str, Iterator[bytes]]]:
        start = 0
        for name, shape in shapes.items():
            end = start + math.prod(shape)
            yield f"transformer.{name}", _pieces(values[start:end])
            start = end

    write_float32_file(
        target / WEIGHTS_NAME, {f"transformer.{name}": shape for name, shape in shapes.items()}, contents()
    )


def _named_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Name → shape, in the order of the numbers; each is checked against what a GPT-1 of that width has."""
    content = read_bytes(path, max_bytes=_MAX_SHAPES_BYTES).decode("utf-8", "replace")
    listed: Any = parse_json_object(f'{{"shapes": {content}}}', source=path.name)["shapes"]
    if not isinstance(listed, list) or not all(map(_is_shape, listed)) or len(listed) < 2 + len(_LAYER_TENSORS):
        raise ModelFormatError(f"{path.name} must hold a list of shapes.", field=path.name)
    shapes = [tuple(shape[1:]) if len(shape) == 3 and shape[0] == 1 else tuple(shape) for shape in listed]
    n_embd = shapes[0][-1]
    num_layers, rest = divmod(len(shapes) - 2, len(_LAYER_TENSORS))
    names = [f"h.{layer}.{name}" for layer in range(num_layers) for name in _LAYER_TENSORS]
    sizes: list[tuple[int, ...]] = [(n_embd, 3 * n_embd), (3 * n_embd,), (n_embd, n_embd), *[(n_embd,)] * 3]
    sizes += [(n_embd, 4 * n_embd), (4 * n_embd,), (4 * n_embd, n_embd), *[(n_embd,)] * 3]
    is_gpt1 = rest == 0 and shapes[2:] == sizes * num_layers and n_embd % _NUM_HEADS == 0
    if not is_gpt1 or {len(shapes[0]), len(shapes[1])} != {2} or shapes[1][1] != n_embd:
        raise ModelFormatError(f"{path.name} does not describe a GPT-1.", field=path.name)
    if sum(map(math.prod, shapes)) > _MAX_VALUES:
        raise ModelFormatError(f"{path.name} asks for far more numbers than any GPT-1 has.", field=path.name)
    return dict(zip(["positions_embed.weight", "tokens_embed.weight", *names], shapes, strict=True))


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and 1 <= len(value) <= 3 and all(type(size) is int and size > 0 for size in value)


def _values(folder: Path) -> "np.ndarray[Any, np.dtype[np.float32]]":
    """All the numbers, shard after shard. `allow_pickle` stays off: such a file could run any code."""
    shards: list[np.ndarray[Any, Any]] = []
    num_values = 0
    while len(shards) < _MAX_SHARDS and (path := folder / f"params_{len(shards)}.npy").is_file():
        try:
            shard = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ModelFormatError(f"{path.name} is no plain numpy array: {error}.", field=path.name) from error
        if not isinstance(shard, np.ndarray) or shard.dtype != np.dtype("<f4") or shard.ndim != 1:
            raise ModelFormatError(f"{path.name} must hold one row of float32.", field=path.name)
        num_values += len(shard)
        if num_values > _MAX_VALUES:
            raise ModelFormatError(f"{folder} holds far more numbers than any GPT-1 has.", field=path.name)
        shards.append(shard)
    if not shards:
        raise ModelFormatError(f"{folder} has no params_0.npy.", field="params_0.npy")
    return np.concatenate(shards)


def _pieces(values: "np.ndarray[Any, np.dtype[np.float32]]") -> Iterator[bytes]:
    for start in range(0, len(values), _WRITE_VALUES):
        yield values[start : start + _WRITE_VALUES].tobytes()
