from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from gpt2svc.errors import ModelFormatError
from gpt2svc.models.chunk import Chunk
from gpt2svc.models.folder import ModelFolder
from gpt2svc.models.gpt2 import GPT2
from gpt2svc.models.weights import WeightReader
from tests.fakes.checkpoints import random_gpt2, write_checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def folder(tmp_path: Path) -> ModelFolder:
    return ModelFolder.open(write_checkpoint(tmp_path / "whole", random_gpt2(7)))


def _logits(folder: ModelFolder) -> torch.Tensor:
    model = GPT2.from_folder(folder, torch.device("cpu"), torch.float32)
    return model.forward([Chunk(0, 0, [1, 2, 3], True)], model.new_cache(1))


def test_every_tensor_is_read_as_it_was_saved(folder: ModelFolder) -> None:
    reader = WeightReader(folder)
    saved = load_file(folder.path / "model.safetensors")
    for name in folder.tensors:
        assert torch.equal(reader.read(name), saved[f"transformer.{name}"])


def test_shards_give_the_same_logits(folder: ModelFolder, tmp_path: Path) -> None:
    sharded = ModelFolder.open(write_checkpoint(tmp_path / "sharded", random_gpt2(7), max_shard_size="100KB"))
    assert len(sharded.weight_files) > 1
    assert torch.equal(_logits(sharded), _logits(folder))


def test_names_without_prefix_give_the_same_logits(folder: ModelFolder, tmp_path: Path) -> None:
    bare = write_checkpoint(tmp_path / "bare", random_gpt2(7))
    saved = load_file(bare / "model.safetensors")
    (bare / "model.safetensors").unlink()
    save_file({name.removeprefix("transformer."): t.clone() for name, t in saved.items()}, bare / "model.safetensors")
    assert torch.equal(_logits(ModelFolder.open(bare)), _logits(folder))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_files_load_as_their_values(dtype: torch.dtype, tmp_path: Path) -> None:
    halved = random_gpt2(7).to(dtype)
    folder = ModelFolder.open(write_checkpoint(tmp_path / "half", halved))
    whole = ModelFolder.open(write_checkpoint(tmp_path / "float", halved.float()))
    assert torch.equal(_logits(folder), _logits(whole))


def test_progress_rises_to_a_hundred(folder: ModelFolder) -> None:
    heard: list[float | None] = []
    GPT2.from_folder(folder, torch.device("cpu"), torch.float32, lambda _stage, percent: heard.append(percent))
    assert heard == sorted(heard, key=lambda percent: percent or 0.0)
    assert heard[-1] == 100.0
    assert len(heard) >= len(folder.tensors)


def test_file_cut_after_opening_is_an_error_that_names_it(folder: ModelFolder) -> None:
    path = folder.path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ModelFormatError, match=r"model\.safetensors ends too early"):
        GPT2.from_folder(folder, torch.device("cpu"), torch.float32)


def test_file_gone_after_opening_is_an_error_that_names_it(folder: ModelFolder) -> None:
    (folder.path / "model.safetensors").unlink()
    with pytest.raises(ModelFormatError, match=r"model\.safetensors can't be read"):
        GPT2.from_folder(folder, torch.device("cpu"), torch.float32)
