"""A whole GPT-2 checkpoint folder of a few kilobytes: one narrow layer, zero weights, the tiny tokenizer."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from tests.fakes.tokenizer import TINY_EOS_ID, TINY_VOCAB_SIZE, write_tokenizer_folder

N_POSITIONS = 64


def write_tiny_folder(folder: Path, *, width: int = 4) -> Path:
    """Write config.json, model.safetensors and tokenizer.json into `folder` and return it."""
    write_tokenizer_folder(folder)
    config = {
        "model_type": "gpt2",
        "vocab_size": TINY_VOCAB_SIZE,
        "n_positions": N_POSITIONS,
        "n_embd": width,
        "n_layer": 1,
        "n_head": 1,
        "bos_token_id": TINY_EOS_ID,
        "eos_token_id": TINY_EOS_ID,
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    shapes = {
        "wte.weight": (TINY_VOCAB_SIZE, width),
        "wpe.weight": (N_POSITIONS, width),
        "ln_f.weight": (width,),
        "ln_f.bias": (width,),
        "h.0.ln_1.weight": (width,),
        "h.0.ln_1.bias": (width,),
        "h.0.attn.c_attn.weight": (width, 3 * width),
        "h.0.attn.c_attn.bias": (3 * width,),
        "h.0.attn.c_proj.weight": (width, width),
        "h.0.attn.c_proj.bias": (width,),
        "h.0.ln_2.weight": (width,),
        "h.0.ln_2.bias": (width,),
        "h.0.mlp.c_fc.weight": (width, 4 * width),
        "h.0.mlp.c_fc.bias": (4 * width,),
        "h.0.mlp.c_proj.weight": (4 * width, width),
        "h.0.mlp.c_proj.bias": (width,),
    }
    save_file({name: np.zeros(shape, dtype=np.float32) for name, shape in shapes.items()}, folder / "model.safetensors")
    return folder
