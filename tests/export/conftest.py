"""Small GPT-2 folders of different arithmetic, with a tokenizer, and the models themselves."""

from pathlib import Path
from typing import Any

import pytest
from transformers import GPT2LMHeadModel

from tests.fakes.checkpoints import random_gpt2, write_checkpoint
from tests.fakes.tokenizer import TINY_EOS_ID, TINY_VOCAB_SIZE, write_tokenizer_folder

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "untied": {"tie_word_embeddings": False, "scale_attn_by_inverse_layer_idx": True},
    "relu": {"activation_function": "relu", "n_inner": 100},
    "gelu": {"activation_function": "gelu", "scale_attn_weights": False},
    "silu": {"activation_function": "silu", "layer_norm_epsilon": 1e-3},
    "tanh": {"activation_function": "tanh", "n_positions": 2},
}


@pytest.fixture(autouse=True)
def _on_one_thread(one_thread: None) -> None:
    """Every test of this package."""


@pytest.fixture(scope="package")
def models() -> dict[str, GPT2LMHeadModel]:
    common = {"vocab_size": TINY_VOCAB_SIZE, "bos_token_id": TINY_EOS_ID, "eos_token_id": TINY_EOS_ID, "n_layer": 2}
    return {
        name: random_gpt2(seed, **common | changes) for seed, (name, changes) in enumerate(VARIANTS.items(), start=20)
    }


@pytest.fixture(scope="package")
def folders(models: dict[str, GPT2LMHeadModel], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("export")
    return {name: write_tokenizer_folder(write_checkpoint(root / name, model)) for name, model in models.items()}
