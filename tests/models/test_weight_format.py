"""Whole models with quantised weights, against transformers with the weights that the integers stand for."""

from pathlib import Path

import pytest
import torch
from transformers import GPT2LMHeadModel

from gpt2svc.errors import ModelFormatError
from gpt2svc.models import weight_format
from gpt2svc.models.chunk import Chunk
from gpt2svc.models.folder import ModelFolder
from gpt2svc.models.gpt2 import GPT2
from gpt2svc.models.group_quantization import quantize_groups, restored
from gpt2svc.models.linear import PackedLinear, PlainLinear, can_pack
from gpt2svc.models.quantization import Quantization
from gpt2svc.models.row_quantization import quantize_rows
from gpt2svc.models.weight_format import WeightFormat
from tests.fakes.checkpoints import random_gpt2, write_checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")


def _rounded(weight: torch.Tensor) -> torch.Tensor:
    values, scales = quantize_rows(weight)
    return values * scales.unsqueeze(1)


def _reference(model: GPT2LMHeadModel, quantize: Quantization, step_dtype: torch.dtype) -> GPT2LMHeadModel:
    """The same model, its weights rounded as the format says, in float64."""
    with torch.no_grad():
        tied = model.lm_head.weight is model.transformer.wte.weight
        model.transformer.wte.weight.copy_(_rounded(model.transformer.wte.weight))
        if not tied:
            model.lm_head.weight.copy_(_rounded(model.lm_head.weight))
        for block in model.transformer.h:
            for layer in (block.attn.c_attn, block.attn.c_proj, block.mlp.c_fc, block.mlp.c_proj):
                weight = layer.weight.t()
                if quantize == "int8":
                    weight = _rounded(weight)
                else:
                    weight = restored(quantize_groups(weight, step_dtype)).float()[:, : weight.shape[1]]
                layer.weight.copy_(weight.t())
    return model.double()


def _logits(model: GPT2, token_ids: list[int]) -> torch.Tensor:
    return model.forward([Chunk(0, 0, token_ids, False, num_scored=len(token_ids))], model.new_cache(1))


@pytest.mark.parametrize("has_products", [True, False], ids=["products", "restored"])
@pytest.mark.parametrize("is_tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("quantize", ["int8", "int4"])
def test_logits_are_those_of_the_rounded_weights(
    quantize: Quantization, is_tied: bool, has_products: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_products:
        monkeypatch.setattr(weight_format, "can_multiply_int8", lambda device: False)
    # Unscaled attention: the scale is folded into weights before they are rounded, and groups of 4 bits would differ.
    reference = random_gpt2(1, n_embd=64, n_head=4, scale_attn_weights=False, tie_word_embeddings=is_tied)
    folder = ModelFolder.open(write_checkpoint(tmp_path, reference))
    model = GPT2.from_folder(folder, CPU, torch.float32, quantize=quantize)
    token_ids = [(7 * i * i + 3 * i) % folder.config.vocab_size for i in range(60)]
    with torch.no_grad():
        rounded = _reference(reference, quantize, torch.bfloat16 if has_products else torch.float32)
        expected = rounded(torch.tensor([token_ids])).logits[0]
    error = (_logits(model, token_ids) - expected).norm() / expected.norm()
    assert error < (0.02 if has_products else 0.005)


@pytest.mark.parametrize(("quantize", "share"), [("none", 2.1), ("int8", 0.62), ("int4", 0.55)])
def test_memory_counts_the_weights_as_they_are_held(quantize: Quantization, share: float, tmp_path: Path) -> None:
    folder = ModelFolder.open(write_checkpoint(tmp_path, random_gpt2(1, n_embd=256, n_head=4, vocab_size=3000)))
    model = GPT2.from_folder(folder, CPU, torch.float32, quantize=quantize)
    file_bytes = sum(entry.num_bytes for entry in folder.tensors.values())
    assert 0.25 * file_bytes < model.num_bytes < share * file_bytes


def test_weights_that_cannot_be_integers_are_refused(tmp_path: Path) -> None:
    for name in ("transformer.ln_f.weight", "transformer.wte.weight", "transformer.h.0.mlp.c_fc.bias"):
        reference = random_gpt2(1)
        with torch.no_grad():
            reference.get_parameter(name).view(-1)[3] = torch.nan
        folder = ModelFolder.open(write_checkpoint(tmp_path / name, reference))
        with pytest.raises(ModelFormatError, match="can't be quantised"):
            GPT2.from_folder(folder, CPU, torch.float32, quantize="int8")
        GPT2.from_folder(folder, CPU, torch.float32)


def test_without_quantisation_a_table_on_another_device_is_held_once() -> None:
    device = torch.device("meta")
    embedding, head, num_bytes = WeightFormat(device, torch.float32).tied(torch.ones(8, 4))
    assert isinstance(head, PlainLinear)
    assert num_bytes == embedding.num_bytes == 8 * 4 * 4
    if can_pack(CPU, torch.float32):
        embedding, head, num_bytes = WeightFormat(CPU, torch.float32).tied(torch.ones(8, 4))
        assert isinstance(head, PackedLinear)
        assert num_bytes == 2 * embedding.num_bytes
