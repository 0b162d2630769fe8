"""Small models and engines on them, made once: transformers takes seconds to import and to write a checkpoint."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import GPT2LMHeadModel

from gpt2svc.engine.config import EngineConfig
from gpt2svc.engine.core import EngineCore
from gpt2svc.models.folder import ModelFolder
from gpt2svc.models.gpt2 import GPT2
from tests.fakes.checkpoints import random_gpt2, write_checkpoint


@pytest.fixture(autouse=True)
def _on_one_thread(one_thread: None) -> None:
    """Every test of this package."""


@pytest.fixture(scope="session")
def references() -> list[GPT2LMHeadModel]:
    """Three random models of different shapes and arithmetic."""
    return [
        random_gpt2(1),
        random_gpt2(2, n_embd=96, n_head=6, n_layer=2, n_inner=100, activation_function="relu", vocab_size=64),
        random_gpt2(3, scale_attn_by_inverse_layer_idx=True, tie_word_embeddings=False, n_positions=200),
    ]


@pytest.fixture(scope="session")
def folders(references: list[GPT2LMHeadModel], tmp_path_factory: pytest.TempPathFactory) -> list[ModelFolder]:
    root = tmp_path_factory.mktemp("checkpoints")
    return [ModelFolder.open(write_checkpoint(root / str(i), model)) for i, model in enumerate(references)]


@pytest.fixture(scope="session")
def wide_folder(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    """Wide enough for attention in bfloat16, and a window of several blocks of keys."""
    model = random_gpt2(4, n_embd=128, n_head=4, n_layer=2, n_positions=1024, vocab_size=307)
    path: Path = write_checkpoint(tmp_path_factory.mktemp("wide"), model)
    return ModelFolder.open(path)


@pytest.fixture(scope="session")
def new_core() -> Callable[..., EngineCore]:
    def make(folder: ModelFolder, dtype: torch.dtype = torch.float32, **config: object) -> EngineCore:
        model = GPT2.from_folder(folder, torch.device("cpu"), dtype)
        return EngineCore(model, EngineConfig(**config))  # type: ignore[arg-type]

    return make
