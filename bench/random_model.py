"""A model folder of GPT-2's full size with random weights, for measurements that no trained model is needed for."""

import json
import os
import shutil
from pathlib import Path
from typing import Final

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from tests.e2e.starter import STARTER
from transformers import GPT2Config, GPT2LMHeadModel

VOCAB_SIZE: Final = 50257


def write_random_gpt2(folder: Path) -> Path:
    """GPT-2 124M's shapes, and the bundled model's tokenizer with meaningless tokens up to GPT-2's vocabulary."""
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=VOCAB_SIZE, bos_token_id=0, eos_token_id=0))
    model.save_pretrained(folder)
    tokenizer = json.loads((STARTER / "tokenizer.json").read_text(encoding="utf-8"))
    vocab = tokenizer["model"]["vocab"]
    vocab |= {f"Zz{token_id}": token_id for token_id in range(len(vocab), VOCAB_SIZE)}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
    shutil.copy(STARTER / "tokenizer_config.json", folder)
    return folder
