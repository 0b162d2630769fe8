"""A whole GPT-2 checkpoint folder of a few kilobytes: one layer of width 4, zero weights, the tiny tokenizer."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from tests.fakes.tokenizer import TINY_EOS_ID, TINY_VOCAB_SIZE, write_tokenizer_folder

N_POSITIONS = 64
WIDTH = 4


def write_tiny_folder(folder: Path) -> Path:
    """Write config.json, model.safetensors and tokenizer.json into `folder` and return it."""
    write_tokenizer_folder(folder)
    config = {
        "model_type": "gpt2",
        "vocab_size": TINY_VOCAB_SIZE,
        "n_positions": N_POSITIONS,
        "n_embd": WIDTH,
        "n_layer": 1,
        "n_head": 1,
        "bos_token_id": TINY_EOS_ID,
        "eos_token_id": TINY_EOS_ID,
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    shapes = {
        "wte.weight": (TINY_VOCAB_SIZE, WIDTH),
        "wpe.weight": (N_POSITIONS, WIDTH),
        "ln_f.weight": (WIDTH,),
        "ln_f.bias": (WIDTH,),
        "h.0.ln_1.weight": (WIDTH,),
        "h.0.ln_1.bias": (WIDTH,),
        "h.0.attn.c_attn.weight": (WIDTH, 3 * WIDTH),
        "h.0.attn.c_attn.bias": (3 * WIDTH,),
        "h.0.attn.c_proj.weight": (WIDTH, WIDTH),
        "h.0.attn.c_proj.bias": (WIDTH,),
        "h.0.ln_2.weight": (WIDTH,),
        "h.0.ln_2.bias": (WIDTH,),
        "h.0.mlp.c_fc.weight": (WIDTH, 4 * WIDTH),
        "h.0.mlp.c_fc.bias": (4 * WIDTH,),
        "h.0.mlp.c_proj.weight": (4 * WIDTH, WIDTH),
        "h.0.mlp.c_proj.bias": (WIDTH,),
    }
    save_file({name: np.zeros(shape, dtype=np.float32) for name, shape in shapes.items()}, folder / "model.safetensors")
    return folder
