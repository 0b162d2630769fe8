"""The original forms of a small GPT-2 and a small GPT-1 with random weights, beside the models themselves."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import GPT2LMHeadModel, OpenAIGPTConfig, OpenAIGPTLMHeadModel

from tests.convert.tensor_bundle import write_bundle
from tests.fakes.checkpoints import random_gpt2
from tests.fakes.tokenizer import MERGES, TINY_EOS_ID, TINY_VOCAB_SIZE, tiny_tokenizer

WIDTH = 24
GPT1_TOKENS = ("<unk>", "a", "b", "c", "a</w>", "b</w>", "c</w>", "ab", "ab</w>")
GPT1_MERGES = "#version: 0.2\na b\na b</w>\n"


@pytest.fixture(scope="package")
def gpt2_model() -> GPT2LMHeadModel:
    return random_gpt2(
        7,
        vocab_size=TINY_VOCAB_SIZE,
        n_positions=32,
        n_embd=WIDTH,
        n_layer=2,
        n_head=4,
        bos_token_id=TINY_EOS_ID,
        eos_token_id=TINY_EOS_ID,
    )


def tensorflow_variables(model: GPT2LMHeadModel) -> dict[str, np.ndarray]:
    """Under OpenAI's names, projections as convolutions of width 1."""
    variables = {}
    for name, tensor in model.transformer.state_dict().items():
        parts = name.replace("h.", "h", 1).split(".") if name.startswith("h.") else name.split(".")
        array = tensor.numpy()
        if parts[0] in ("wte", "wpe"):
            variables[f"model/{parts[0]}"] = array
            continue
        kind = {"bias": "b", "weight": "g" if "ln_" in name else "w"}[parts[-1]]
        variables["/".join(["model", *parts[:-1], kind])] = array[None] if kind == "w" else array
    return variables


@pytest.fixture
def gpt2_checkpoint(tmp_path: Path, gpt2_model: GPT2LMHeadModel) -> Path:
    """The folder as OpenAI published it."""
    folder = tmp_path / "original"
    folder.mkdir()
    write_bundle(folder / "model.ckpt", tensorflow_variables(gpt2_model))
    config = gpt2_model.config
    hparams = {
        "n_vocab": config.vocab_size,
        "n_ctx": config.n_positions,
        "n_embd": config.n_embd,
        "n_head": config.n_head,
        "n_layer": config.n_layer,
    }
    (folder / "hparams.json").write_text(json.dumps(hparams), encoding="utf-8")
    (folder / "encoder.json").write_text(json.dumps(tiny_tokenizer().get_vocab()), encoding="utf-8")
    merges = "#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in MERGES)
    (folder / "vocab.bpe").write_text(merges, encoding="utf-8")
    (folder / "checkpoint").write_text('model_checkpoint_path: "model.ckpt"\n', encoding="utf-8")
    return folder


@pytest.fixture(scope="package")
def gpt1_model() -> OpenAIGPTLMHeadModel:
    torch.manual_seed(3)
    config = OpenAIGPTConfig(vocab_size=len(GPT1_TOKENS), n_positions=16, n_embd=WIDTH, n_layer=2, n_head=12)
    model = OpenAIGPTLMHeadModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


@pytest.fixture
def gpt1_checkpoint(tmp_path: Path, gpt1_model: OpenAIGPTLMHeadModel) -> Path:
    folder = tmp_path / "original" / "model"
    folder.mkdir(parents=True)
    weights = gpt1_model.transformer.state_dict()
    names = ["positions_embed.weight", "tokens_embed.weight"]
    for layer in range(2):
        for part in ("attn.c_attn", "attn.c_proj", "ln_1", "mlp.c_fc", "mlp.c_proj", "ln_2"):
            names += [f"h.{layer}.{part}.weight", f"h.{layer}.{part}.bias"]
    arrays = [weights[name].numpy() for name in names]
    shapes = [
        [1, *array.shape] if array.ndim == 2 and index > 1 else list(array.shape) for index, array in enumerate(arrays)
    ]
    (folder / "params_shapes.json").write_text(json.dumps(shapes), encoding="utf-8")
    row = np.concatenate([array.ravel() for array in arrays])
    for index, shard in enumerate(np.array_split(row, 10)):
        np.save(folder / f"params_{index}.npy", shard)
    vocabulary = {token: index for index, token in enumerate(GPT1_TOKENS)}
    (folder / "encoder_bpe_40000.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "vocab_40000.bpe").write_text(GPT1_MERGES, encoding="utf-8")
    return folder.parent
