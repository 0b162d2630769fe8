"""What a worker says of a model that is not there."""

from typing import Any

from gpt2svc.engine.types import ModelInfo
from tests.fakes.tokenizer import TINY_EOS_ID, TINY_VOCAB_SIZE


def fake_model_info(**changes: Any) -> ModelInfo:
    described: dict[str, Any] = {
        "name": "tiny",
        "revision": "0123456789ab",
        "architecture": "gpt2",
        "device": "cpu",
        "dtype": "float32",
        "num_parameters": 1_000,
        "n_positions": 64,
        "vocab_size": TINY_VOCAB_SIZE,
        "n_layer": 1,
        "n_head": 1,
        "n_embd": 4,
        "num_slots": 8,
        "eos_token_id": TINY_EOS_ID,
    }
    return ModelInfo(**described | changes)
