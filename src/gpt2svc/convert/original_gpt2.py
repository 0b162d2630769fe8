"""OpenAI's GPT-2 checkpoints: a tensor bundle, hparams.json, encoder.json and vocab.bpe."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from gpt2svc.convert.safetensors_file import write_float32_file
from gpt2svc.convert.tensor_bundle import FLOAT, INDEX_SUFFIX, TensorBundle, Variable
from gpt2svc.errors import InvalidInputError, ModelFormatError
from gpt2svc.models.config import CONFIG_NAME, MAX_CONFIG_BYTES, GPT2Config
from gpt2svc.models.json_file import read_bytes, read_json_object
from gpt2svc.models.tensor_names import expected_shapes
from gpt2svc.models.tokenizer_files import MERGES_NAME, TOKENIZER_NAME, VOCAB_NAME, read_vocabulary
from gpt2svc.models.weight_files import WEIGHTS_NAME

HPARAMS_NAME: Final = "hparams.json"
ENCODER_NAME: Final = "encoder.json"
BPE_NAME: Final = "vocab.bpe"

_END_OF_TEXT: Final = "<|endoftext|>"
_MAX_VOCABULARY_BYTES: Final = 64 << 20
_SCOPE: Final = "model/"
_KINDS: Final = {"w": "weight", "b": "bias", "g": "weight"}
_LAYER: Final = re.compile(r"h(\d+)/(.+)/([wbg])")


def find_prefix(source: Path) -> Path | None:
    """The checkpoint that `source` names: a folder with one `.index`, a prefix, or one of a checkpoint's files.

    None where there is no `.index`; raises InvalidInputError where a folder has several.
    """
    if source.is_dir():
        found = sorted(file.name for file in source.iterdir() if file.name.endswith(INDEX_SUFFIX))
        if len(found) > 1:
            names = ", ".join(name.removesuffix(INDEX_SUFFIX) for name in found[:5])
            raise InvalidInputError(f"{source} has several checkpoints; name one of them: {names}.", field="source")
        return source / found[0].removesuffix(INDEX_SUFFIX) if found else None
    prefix = source.with_name(re.sub(r"\.(index|meta|data-\d{5}-of-\d{5})$", "", source.name))
    return prefix if prefix.with_name(prefix.name + INDEX_SUFFIX).is_file() else None


def convert_original_gpt2(prefix: Path, target: Path) -> int:
    """Write a model folder into the empty folder `target`. Returns how many variables were of no use.

    Those are an optimizer's, and the step counter. Raises ModelFormatError for what is missing, damaged or no GPT-2.
    """
    hparams = read_json_object(prefix.parent / HPARAMS_NAME, max_bytes=MAX_CONFIG_BYTES)
    config = _config(hparams)
    shape = GPT2Config.from_json(config, source=HPARAMS_NAME)
    bundle = TensorBundle.open(prefix)
    wanted = expected_shapes(shape)
    chosen: dict[str, Variable] = {}
    for variable in bundle.variables.values():
        name = _canonical_name(variable.name)
        if name in wanted:
            _check(variable, wanted[name])
            chosen[name] = variable
    missing = [name for name in wanted if name not in chosen]
    if missing:
        raise ModelFormatError(
            f"{prefix.name}{INDEX_SUFFIX} lacks {missing[0]} and {len(missing) - 1} more of what {HPARAMS_NAME} asks "
            "for: they don't belong together, or it is no GPT-2.",
            field=prefix.name,
        )

    def contents() -> Iterator[tuple[str, Iterator[bytes]]]:
        for name in wanted:
            yield f"transformer.{name}", bundle.read(chosen[name])

    _write_json(target / CONFIG_NAME, config)
    ends = {key: config[key] for key in ("bos_token_id", "eos_token_id")}
    _write_json(target / "generation_config.json", ends)
    write_vocabulary(prefix.parent / ENCODER_NAME, prefix.parent / BPE_NAME, target)
    _write_tokenizer(target, shape)
    write_float32_file(
        target / WEIGHTS_NAME, {f"transformer.{name}": size for name, size in wanted.items()}, contents()
    )
    return len(bundle.variables) - len(chosen)


def write_vocabulary(encoder: Path, merges: Path, target: Path) -> None:
    """The two files of a byte-pair encoding under the names that everybody else looks for."""
    (target / VOCAB_NAME).write_bytes(read_bytes(encoder, max_bytes=_MAX_VOCABULARY_BYTES))
    (target / MERGES_NAME).write_bytes(read_bytes(merges, max_bytes=_MAX_VOCABULARY_BYTES))


def _canonical_name(name: str) -> str:
    """ "model/h0/attn/c_attn/w" → "h.0.attn.c_attn.weight"; what is none of ours comes out as something unknown."""
    name = name.removeprefix(_SCOPE) if name.startswith(_SCOPE) else ""
    if name in ("wte", "wpe"):
        return f"{name}.weight"
    layer = _LAYER.fullmatch(name)
    if layer is not None:
        return f"h.{int(layer[1])}.{layer[2].replace('/', '.')}.{_KINDS[layer[3]]}"
    return {"ln_f/g": "ln_f.weight", "ln_f/b": "ln_f.bias"}.get(name, "")


def _check(variable: Variable, shape: tuple[int, ...]) -> None:
    if variable.dtype != FLOAT or variable.is_sliced or variable.crc is None:
        raise ModelFormatError(f"{variable.name} is not a plain float32 variable.", field=variable.name)
    # Weights of projections are stored as convolutions of width 1: (1, in, out).
    found = variable.shape[1:] if len(variable.shape) == 3 and variable.shape[0] == 1 else variable.shape
    if found != shape:
        raise ModelFormatError(
            f"{variable.name} has the shape {list(variable.shape)}, but {HPARAMS_NAME} asks for {list(shape)}.",
            field=variable.name,
        )


def _config(hparams: dict[str, Any]) -> dict[str, Any]:
    names = {"n_vocab": "vocab_size", "n_ctx": "n_positions", "n_embd": "n_embd", "n_head": "n_head"}
    missing = [name for name in (*names, "n_layer") if name not in hparams]
    if missing:
        raise ModelFormatError(f"{HPARAMS_NAME} lacks {', '.join(missing)}.", field=HPARAMS_NAME)
    vocab_size = hparams["n_vocab"]
    end_id = vocab_size - 1 if isinstance(vocab_size, int) else None
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        **{ours: hparams[theirs] for theirs, ours in names.items()},
        "n_layer": hparams["n_layer"],
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": True,
        "bos_token_id": end_id,
        "eos_token_id": end_id,
        "dtype": "float32",
    }


def _write_tokenizer(target: Path, shape: GPT2Config) -> None:
    vocabulary = read_vocabulary(target)
    if vocabulary.size > shape.vocab_size:
        raise ModelFormatError(
            f"{ENCODER_NAME} has ids up to {vocabulary.size - 1}, but n_vocab is {shape.vocab_size}.",
            field=ENCODER_NAME,
        )
    (target / TOKENIZER_NAME).write_text(vocabulary.backend.to_str(), encoding="utf-8")
    described = {
        "tokenizer_class": "GPT2Tokenizer",
        "add_prefix_space": False,
        "bos_token": _END_OF_TEXT,
        "eos_token": _END_OF_TEXT,
        "unk_token": _END_OF_TEXT,
        "model_max_length": shape.n_positions,
    }
    _write_json(target / "tokenizer_config.json", described)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
