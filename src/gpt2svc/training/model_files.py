"""The files of a model folder that transformers and `gpt2svc serve` load: written, and read to train on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from tokenizers import Tokenizer

from gpt2svc.errors import InvalidInputError
from gpt2svc.training.network import TrainableGpt2
from gpt2svc.training.shape import ModelShape
from gpt2svc.training.transcript import END_OF_TEXT
from gpt2svc.training.vocabulary import tokenizer_files

WEIGHTS_FILE = "model.safetensors"
# What the training forward computes; a model that was made otherwise can't be trained on here.
FIXED_SETTINGS: dict[str, Any] = {
    "model_type": "gpt2",
    "activation_function": "gelu_new",
    "layer_norm_epsilon": 1e-5,
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "tie_word_embeddings": True,
    "n_inner": None,
}


def model_folder_files(tokenizer: Tokenizer, model: TrainableGpt2) -> dict[str, bytes]:
    """Everything that `from_pretrained` reads, by file name."""
    end_id = tokenizer.token_to_id(END_OF_TEXT)
    texts = _config_files(model.shape, end_id) | tokenizer_files(tokenizer, model.shape.n_positions)
    return {name: text.encode() for name, text in texts.items()} | {WEIGHTS_FILE: weights_file(model)}


def weights_file(model: TrainableGpt2) -> bytes:
    """Safetensors in float32 with transformers' names; `lm_head` is tied to `wte`, so it isn't stored."""
    tensors = {name: tensor.to("cpu", torch.float32).contiguous() for name, tensor in model.state_dict().items()}
    return save(tensors, metadata={"format": "pt"})


def read_shape(folder: Path) -> ModelShape:
    """Raises InvalidInputError where `folder` holds no GPT-2 that can be trained on, and says what it holds."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        for name, value in FIXED_SETTINGS.items():
            if config.get(name, value) != value:
                raise InvalidInputError(
                    f"{path}: {name} is {config[name]!r}; only models with {value!r} can be trained on.", field="model"
                )
        names = ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head")
        return ModelShape(**{name: int(config[name]) for name in names})
    except OSError as error:
        raise InvalidInputError(f"Can't read {path}: {error.strerror}.", field="model") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInputError(f"{path} is no GPT-2 configuration: {error!r}.", field="model") from error


def read_weights(folder: Path, model: TrainableGpt2) -> None:
    """Loads `folder`'s weights into `model`. Raises InvalidInputError where they are missing or don't fit."""
    path = folder / WEIGHTS_FILE
    if not path.exists():
        raise InvalidInputError(
            f"{folder} has no {WEIGHTS_FILE}. Pickle weights are not loaded: convert them to safetensors first.",
            field="model",
        )
    wanted = model.state_dict()
    try:
        tensors = {_full_name(name): tensor for name, tensor in load_file(path).items()}
        model.load_state_dict({name: tensors[name] for name in wanted})
    except KeyError as error:
        raise InvalidInputError(f"{path} has no tensor {error}.", field="model") from error
    except (OSError, RuntimeError, SafetensorError) as error:
        raise InvalidInputError(f"{path} can't be loaded: {error}", field="model") from error


def _full_name(name: str) -> str:
    # The original gpt2 checkpoints on the hub are saved without the prefix.
    return name if name.startswith(("transformer.", "lm_head.")) else f"transformer.{name}"


def _config_files(shape: ModelShape, end_id: int | None) -> dict[str, str]:
    config: dict[str, Any] = {
        "architectures": ["GPT2LMHeadModel"],
        **FIXED_SETTINGS,
        "vocab_size": shape.vocab_size,
        "n_positions": shape.n_positions,
        "n_ctx": shape.n_positions,
        "max_position_embeddings": shape.n_positions,
        "n_embd": shape.n_embd,
        "n_layer": shape.n_layer,
        "n_head": shape.n_head,
        "initializer_range": 0.02,
        "resid_pdrop": shape.dropout,
        "embd_pdrop": shape.dropout,
        "attn_pdrop": shape.dropout,
        "use_cache": True,
        "bos_token_id": end_id,
        "eos_token_id": end_id,
        "dtype": "float32",
    }
    generation = {"bos_token_id": end_id, "eos_token_id": end_id}
    return {
        "config.json": json.dumps(config, indent=2) + "\n",
        "generation_config.json": json.dumps(generation, indent=2) + "\n",
    }
