import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from safetensors.torch import load_file
from transformers import AutoTokenizer, GPT2LMHeadModel, OpenAIGPTLMHeadModel

from gpt2svc.cli import main
from gpt2svc.cli.convert import convert as convert_command
from gpt2svc.convert.conversion import convert
from gpt2svc.errors import InvalidInputError, ModelFormatError, UnsafeModelError
from gpt2svc.models.folder import ModelFolder
from tests.convert.conftest import tensorflow_variables
from tests.convert.tensor_bundle import write_bundle
from tests.fakes.tokenizer import tiny_tokenizer, write_tokenizer_folder


def assert_same_logits(folder: Path, model: GPT2LMHeadModel | OpenAIGPTLMHeadModel) -> None:
    loaded = type(model).from_pretrained(folder).eval()
    ids = torch.arange(10).unsqueeze(0) % model.config.vocab_size
    with torch.no_grad():
        torch.testing.assert_close(loaded(ids).logits, model(ids).logits, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["", "model.ckpt", "model.ckpt.index", "model.ckpt.data-00000-of-00001"])
def test_tensorflow_checkpoint_gives_the_logits_of_the_model(
    gpt2_checkpoint: Path, gpt2_model: GPT2LMHeadModel, tmp_path: Path, name: str
) -> None:
    result = convert(gpt2_checkpoint / name, tmp_path / "out")
    assert (result.model_type, result.num_ignored) == ("gpt2", 0)
    assert_same_logits(tmp_path / "out", gpt2_model)
    text = "hello the Привіт<|endoftext|>"
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer(text)["input_ids"] == tiny_tokenizer().encode(text).ids
    assert tokenizer.eos_token == "<|endoftext|>"
    folder = ModelFolder.open(tmp_path / "out")
    assert folder.load_tokenizer().eos_token_id == gpt2_model.config.eos_token_id


def test_an_optimizers_variables_are_left_out(
    gpt2_checkpoint: Path, gpt2_model: GPT2LMHeadModel, tmp_path: Path
) -> None:
    variables = tensorflow_variables(gpt2_model)
    extra = {"model/wte/Adam": np.zeros(3), "global_step": np.zeros(()), "beta1_power": np.zeros(())}
    write_bundle(gpt2_checkpoint / "model.ckpt", variables | extra)
    assert convert(gpt2_checkpoint, tmp_path / "out").num_ignored == 3
    assert_same_logits(tmp_path / "out", gpt2_model)


def test_numpy_shards_give_the_logits_of_the_model(
    gpt1_checkpoint: Path, gpt1_model: OpenAIGPTLMHeadModel, tmp_path: Path
) -> None:
    assert convert(gpt1_checkpoint, tmp_path / "out").model_type == "openai-gpt"
    assert_same_logits(tmp_path / "out", gpt1_model)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer.tokenize("AB c") == ["ab</w>", "c</w>"]


def pickled(folder: Path, model: GPT2LMHeadModel) -> Path:
    model.save_pretrained(folder)
    (folder / "model.safetensors").unlink()
    weights = model.state_dict()
    weights["transformer.h.0.attn.bias"] = torch.ones(1, 1, 4, 4, dtype=torch.uint8)
    torch.save(weights, folder / "pytorch_model.bin")
    return write_tokenizer_folder(folder)


def test_pickle_is_converted_only_when_allowed(gpt2_model: GPT2LMHeadModel, tmp_path: Path) -> None:
    source = pickled(tmp_path / "pickled", gpt2_model)
    with pytest.raises(UnsafeModelError, match="--allow-pickle"):
        convert(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert convert(source, tmp_path / "out", is_pickle_allowed=True).model_type == "gpt2"
    assert_same_logits(tmp_path / "out", gpt2_model)
    assert ModelFolder.open(tmp_path / "out").load_tokenizer().vocab_size == gpt2_model.config.vocab_size


def test_pickle_shards_become_safetensors_shards(gpt2_model: GPT2LMHeadModel, tmp_path: Path) -> None:
    source = pickled(tmp_path / "pickled", gpt2_model)
    weights = gpt2_model.transformer.state_dict(prefix="transformer.")
    names = list(weights)
    weight_map = {}
    for index, part in enumerate((names[:5], names[5:])):
        torch.save({name: weights[name] for name in part}, source / f"pytorch_model-{index}.bin")
        weight_map |= dict.fromkeys(part, f"pytorch_model-{index}.bin")
    (source / "pytorch_model.bin").unlink()
    (source / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}), encoding="utf-8")
    convert(source, tmp_path / "out", is_pickle_allowed=True)
    assert_same_logits(tmp_path / "out", gpt2_model)
    assert len(load_file(tmp_path / "out" / "model-00001-of-00002.safetensors")) == 5


class Harmful:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_code_in_a_pickle_is_never_run(gpt2_model: GPT2LMHeadModel, tmp_path: Path) -> None:
    source = pickled(tmp_path / "pickled", gpt2_model)
    (source / "pytorch_model.bin").write_bytes(pickle.dumps({"x": Harmful(tmp_path / "owned")}))
    with pytest.raises(UnsafeModelError, match="something other than tensors"):
        convert(source, tmp_path / "out", is_pickle_allowed=True)
    assert not (tmp_path / "owned").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pickled"]


def break_encoder(folder: Path) -> None:
    (folder / "encoder.json").write_text("{", encoding="utf-8")


def break_data(folder: Path) -> None:
    path = folder / "model.ckpt.data-00000-of-00001"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # in the last tensor: everything else has been written by then
    path.write_bytes(content)


def break_hparams(folder: Path) -> None:
    hparams = json.loads((folder / "hparams.json").read_text(encoding="utf-8"))
    (folder / "hparams.json").write_text(json.dumps(hparams | {"n_layer": 3}), encoding="utf-8")


def break_width(folder: Path) -> None:
    hparams = json.loads((folder / "hparams.json").read_text(encoding="utf-8"))
    (folder / "hparams.json").write_text(json.dumps(hparams | {"n_embd": 48}), encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (break_encoder, "encoder.json|vocab.json"),
        (break_data, "checksum"),
        (break_hparams, "lacks h.2"),
        (break_width, "shape"),
        (lambda folder: (folder / "hparams.json").unlink(), "hparams.json"),
        (lambda folder: (folder / "vocab.bpe").unlink(), "vocab.bpe"),
    ],
)
def test_a_damaged_checkpoint_leaves_nothing_behind(gpt2_checkpoint: Path, tmp_path: Path, damage, said: str) -> None:  # type: ignore[no-untyped-def]
    damage(gpt2_checkpoint)
    with pytest.raises(ModelFormatError, match=said):
        convert(gpt2_checkpoint, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["original"]


def test_damaged_numpy_shards_leave_nothing_behind(gpt1_checkpoint: Path, tmp_path: Path) -> None:
    model = gpt1_checkpoint / "model"
    (model / "params_9.npy").unlink()
    with pytest.raises(ModelFormatError, match="one is missing"):
        convert(gpt1_checkpoint, tmp_path / "out")
    np.save(model / "params_9.npy", np.array([{"an": "object"}], dtype=object), allow_pickle=True)
    with pytest.raises(ModelFormatError, match=r"params_9\.npy is no plain numpy array"):
        convert(gpt1_checkpoint, tmp_path / "out")
    shapes = json.loads((model / "params_shapes.json").read_text(encoding="utf-8"))
    (model / "params_shapes.json").write_text(json.dumps([[10**9, 10**9], *shapes[1:]]), encoding="utf-8")
    with pytest.raises(ModelFormatError, match="does not describe"):
        convert(gpt1_checkpoint, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["original"]


def test_what_is_no_checkpoint_and_what_would_be_overwritten_is_refused(gpt2_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for source, said in [
        (tmp_path / "missing", "neither a folder"),
        (tmp_path / "empty", "nothing to convert"),
    ]:
        with pytest.raises(InvalidInputError, match=said):
            convert(source, tmp_path / "out")
    with pytest.raises(InvalidInputError, match="already exists"):
        convert(gpt2_checkpoint, gpt2_checkpoint)
    convert(gpt2_checkpoint, tmp_path / "empty")
    with pytest.raises(InvalidInputError, match="safetensors already"):
        convert(tmp_path / "empty", tmp_path / "out")
    shutil.copy(gpt2_checkpoint / "model.ckpt.index", gpt2_checkpoint / "model-2.index")
    with pytest.raises(InvalidInputError, match="several checkpoints"):
        convert(gpt2_checkpoint, tmp_path / "out")


def test_the_command_says_what_it_did_and_ends_errors_with_two(
    gpt1_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = typer.Typer()
    app.callback()(lambda: None)
    app.command()(convert_command)
    monkeypatch.setattr(main, "build_app", lambda: app)
    assert main.run(["convert", str(gpt1_checkpoint), "--output", str(tmp_path / "out")]) == 0
    out, err = capsys.readouterr()
    assert out.strip() == str(tmp_path / "out")
    assert "GPT-1 numpy shards" in err
    served = ModelFolder.open(tmp_path / "out")
    assert served.config.architecture == "openai-gpt"
    tokenizer = served.load_tokenizer()
    assert tokenizer.decode(tokenizer.encode("AB c")) == "ab c"
    assert main.run(["convert", str(tmp_path / "missing"), "--output", str(tmp_path / "other")]) == 2
    assert "missing" in capsys.readouterr().err
