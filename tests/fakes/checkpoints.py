"""Tiny GPT-2 and GPT-1 checkpoints with random weights, written by transformers itself."""

from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import GPT2Config, GPT2LMHeadModel, OpenAIGPTConfig, OpenAIGPTLMHeadModel, PreTrainedModel

_Model = TypeVar("_Model", bound=PreTrainedModel)

TINY: dict[str, Any] = {
    "vocab_size": 211,
    "n_positions": 96,
    "n_embd": 64,
    "n_layer": 3,
    "n_head": 4,
    "bos_token_id": 0,
    "eos_token_id": 0,
}


def random_gpt2(seed: int = 0, *, spread: float = 8.0, **config: Any) -> GPT2LMHeadModel:
    """A GPT2LMHeadModel in evaluation mode: TINY with `config` over it.

    Fresh weights give nearly flat logits, whose best token is a matter of rounding: `spread` sharpens them, and every
    bias and norm is made to matter.
    """
    torch.manual_seed(seed)
    return sharpened(GPT2LMHeadModel(GPT2Config(**{**TINY, **config})), spread)


def random_gpt1(seed: int = 0, *, spread: float = 32.0, **config: Any) -> OpenAIGPTLMHeadModel:
    """As `random_gpt2`, of GPT-1's architecture: its norms come last, so that weak layers would only repeat a token."""
    torch.manual_seed(seed)
    return sharpened(OpenAIGPTLMHeadModel(OpenAIGPTConfig(**{**TINY, **config})), spread, strength=6.0)


def sharpened(model: _Model, spread: float = 8.0, *, strength: float = 2.0) -> _Model:
    """In evaluation mode, its weights changed in place: embeddings by `spread`, layers by `strength`."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
            elif any(part in name for part in ("wte", "tokens_embed", "lm_head")):
                parameter.mul_(spread)
            else:
                parameter.mul_(strength)
    model.eval()
    return model


def write_checkpoint(folder: Path, model: GPT2LMHeadModel | None = None, **options: Any) -> Path:
    """Save `model` (else a TINY one) to `folder` with the options of save_pretrained; returns `folder`."""
    (model if model is not None else random_gpt2()).save_pretrained(folder, **options)
    return folder
