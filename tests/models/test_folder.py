import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from gpt2svc.errors import ModelFormatError, UnsafeModelError
from gpt2svc.models.folder import ModelFolder
from tests.fakes.checkpoint import tiny_tensors, write_checkpoint, write_config, write_sharded_checkpoint
from tests.fakes.tokenizer import TINY_VOCAB_SIZE

INDEX = "model.safetensors.index.json"
WEIGHTS = "model.safetensors"


def rewrite_weights(folder: Path, change: Callable[[dict[str, np.ndarray]], object]) -> None:
    tensors = tiny_tensors()
    change(tensors)
    (folder / WEIGHTS).write_bytes(save(tensors, metadata={"format": "pt"}))


def test_whole_checkpoint_opens_under_canonical_names(tmp_path: Path) -> None:
    folder = ModelFolder.open(write_checkpoint(tmp_path / "model"))
    assert folder.name == str(tmp_path / "model")
    assert set(folder.tensors) == {name.removeprefix("transformer.") for name in tiny_tensors()}
    assert folder.tensors["wte.weight"].name == "transformer.wte.weight"
    assert folder.num_parameters == sum(tensor.size for tensor in tiny_tensors().values())
    assert folder.num_bytes == (tmp_path / "model" / WEIGHTS).stat().st_size
    assert folder.load_tokenizer().vocab_size == TINY_VOCAB_SIZE


def test_checkpoint_that_transformers_saved_opens(tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    shape = {"vocab_size": 60, "n_positions": 16, "n_embd": 12, "n_layer": 2, "n_head": 3}
    for tied in (True, False):
        model = GPT2LMHeadModel(GPT2Config(**shape, tie_word_embeddings=tied))
        model.save_pretrained(tmp_path / str(tied), max_shard_size="5KB")
        folder = ModelFolder.open(tmp_path / str(tied))
        assert len(folder.weight_files) > 1
        assert folder.num_parameters == model.num_parameters()
        assert ("lm_head.weight" in folder.tensors) is not tied


def test_tensors_without_a_prefix_are_the_same_model(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model", tensors=tiny_tensors(prefix=""))
    assert ModelFolder.open(folder).tensors["wte.weight"].name == "wte.weight"


def test_sharded_checkpoint_opens(tmp_path: Path) -> None:
    folder = ModelFolder.open(write_sharded_checkpoint(tmp_path / "model", num_shards=3))
    assert len(folder.weight_files) == 3
    assert {entry.file for entry in folder.tensors.values()} == set(folder.weight_files)


def test_heads_of_other_tasks_and_old_mask_buffers_are_left_out(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model")
    extra = {
        "score.weight": np.zeros((2, 8), np.float32),
        "multiple_choice_head.summary.weight": np.zeros((1, 8), np.float32),
        "v_head.summary.weight": np.zeros((1, 8), np.float32),
        "transformer.h.0.attn.bias": np.zeros((1, 1, 32, 32), np.uint8),
        "transformer.h.1.attn.masked_bias": np.zeros((), np.float32),
    }
    rewrite_weights(folder, lambda tensors: tensors.update(extra))
    assert not set(ModelFolder.open(folder).tensors) & {name.removeprefix("transformer.") for name in extra}


def test_output_layer_is_kept_where_it_is_there_and_needed_where_untied(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model")
    write_config(folder, tie_word_embeddings=False)
    with pytest.raises(ModelFormatError, match=r"lack lm_head\.weight"):
        ModelFolder.open(folder)
    head = {"lm_head.weight": np.zeros((TINY_VOCAB_SIZE, 8), np.float32)}
    rewrite_weights(folder, lambda tensors: tensors.update(head))
    assert "lm_head.weight" in ModelFolder.open(folder).tensors


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("transformer.ln_f.weight"), "lack ln_f.weight"),
        (lambda t: t.clear(), "lack wte.weight, wpe.weight, .* and 25 more"),
        (lambda t: t.update({"wte.weight": t["transformer.wte.weight"]}), "wte.weight twice"),
        (lambda t: t.update({"transformer.wpe.weight": np.zeros((31, 8), np.float32)}), r"\[31, 8\].*\[32, 8\]"),
        (lambda t: t.update({"transformer.ln_f.bias": np.zeros(8, np.int32)}), "dtype I32"),
        (lambda t: t.update({"transformer.ln_f.bias": np.zeros(8, np.float64)}), "dtype F64"),
        (lambda t: t.update({"transformer.h.2.ln_1.weight": np.zeros(8, np.float32)}), "layer 2.*n_layer is 2"),
        (lambda t: t.update({"transformer.h.0.attn.c_attn.lora_A": np.zeros(8, np.float32)}), "merge adapters"),
        (lambda t: t.update({"transformer.h.0.crossattention.bias": np.zeros(8, np.float32)}), "not part of a GPT-2"),
    ],
)
def test_weights_of_another_shape_are_refused(tmp_path: Path, change: Callable[..., object], words: str) -> None:
    folder = write_checkpoint(tmp_path / "model")
    rewrite_weights(folder, change)
    with pytest.raises(ModelFormatError, match=words):
        ModelFolder.open(folder)


@pytest.mark.parametrize("missing", ["config.json", WEIGHTS])
def test_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    folder = write_checkpoint(tmp_path / "model")
    (folder / missing).unlink()
    with pytest.raises(ModelFormatError, match=missing):
        ModelFolder.open(folder)


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "missing", tmp_path / "file"):
        with pytest.raises(ModelFormatError, match="not a folder"):
            ModelFolder.open(path)


class Canary:
    """Pickled, it writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return (exec, (f"open({str(self.path)!r}, 'w').close()",))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.ckpt", "weights.pkl", WEIGHTS])
def test_pickle_weights_are_refused_and_never_run(tmp_path: Path, name: str) -> None:
    import pickle

    folder = write_checkpoint(tmp_path / "model")
    (folder / WEIGHTS).unlink()
    canary = Canary(tmp_path / "canary")
    (folder / name).write_bytes(pickle.dumps(canary))
    pickle.loads((folder / name).read_bytes())  # the canary does sing when it is let out
    canary.path.unlink()
    with pytest.raises(UnsafeModelError, match="gpt2svc convert"):
        ModelFolder.open(folder)
    assert not canary.path.exists()


def test_torch_file_as_a_shard_is_refused(tmp_path: Path) -> None:
    import torch

    folder = write_sharded_checkpoint(tmp_path / "model")
    torch.save({"wte.weight": torch.zeros(2)}, folder / "model-00002-of-00002.safetensors")
    with pytest.raises(UnsafeModelError, match="model-00002"):
        ModelFolder.open(folder)


def test_code_beside_the_weights_never_runs(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model")
    (folder / "modeling_evil.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w').close()")
    ModelFolder.open(folder).load_tokenizer()
    write_config(folder, auto_map={"AutoModelForCausalLM": "modeling_evil.Evil"})
    with pytest.raises(UnsafeModelError, match="auto_map"):
        ModelFolder.open(folder)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    "name",
    [
        "../secret.safetensors",
        "/etc/secret.safetensors",
        "sub/part.safetensors",
        "sub\\part.safetensors",
        "..",
        "",
        ".hidden.safetensors",
        "part.bin",
        "part.safetensors\n",
        "part.safetensors\x00",
        "C:part.safetensors",
        5,
        None,
        ["part.safetensors"],
    ],
)
def test_index_may_only_name_plain_files(tmp_path: Path, name: object) -> None:
    folder = write_sharded_checkpoint(tmp_path / "model")
    (tmp_path / "secret.safetensors").write_bytes(save(tiny_tensors()))
    index = json.loads((folder / INDEX).read_text())
    index["weight_map"]["transformer.wte.weight"] = name
    (folder / INDEX).write_text(json.dumps(index))
    with pytest.raises(ModelFormatError, match="not the plain name"):
        ModelFolder.open(folder)


@pytest.mark.parametrize("index", [{}, {"weight_map": {}}, {"weight_map": []}, {"weight_map": "x"}])
def test_index_without_a_map_is_refused(tmp_path: Path, index: object) -> None:
    folder = write_sharded_checkpoint(tmp_path / "model")
    (folder / INDEX).write_text(json.dumps(index))
    with pytest.raises(ModelFormatError, match="weight_map"):
        ModelFolder.open(folder)


def test_missing_shard_is_named(tmp_path: Path) -> None:
    folder = write_sharded_checkpoint(tmp_path / "model")
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ModelFormatError, match="lacks model-00002-of-00002"):
        ModelFolder.open(folder)


@pytest.mark.parametrize("name", [WEIGHTS, "config.json", "tokenizer.json"])
def test_link_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    folder = write_checkpoint(tmp_path / "model")
    (folder / name).rename(tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelFormatError, match="link that leaves"):
        ModelFolder.open(folder).load_tokenizer()


def test_snapshot_in_the_hub_librarys_own_cache_opens(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "models--owner--name" / "snapshots" / "abc")
    blobs = tmp_path / "models--owner--name" / "blobs"
    blobs.mkdir()
    for file in list(folder.iterdir()):
        file.rename(blobs / file.name)
        file.symlink_to(Path("..", "..", "blobs", file.name))
    assert ModelFolder.open(folder).load_tokenizer().vocab_size == TINY_VOCAB_SIZE


def test_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "model")
    (tmp_path / "link").symlink_to(tmp_path / "model")
    assert ModelFolder.open(tmp_path / "link").path == tmp_path / "link"


def test_revision_is_of_the_content_not_of_the_place(tmp_path: Path) -> None:
    first = ModelFolder.open(write_checkpoint(tmp_path / "a"))
    second = ModelFolder.open(write_checkpoint(tmp_path / "b"))
    assert first.revision == second.revision
    assert len(first.revision) == 12
    rewrite_weights(tmp_path / "b", lambda tensors: tensors.update(tiny_tensors(seed=1)))
    third = ModelFolder.open(tmp_path / "b")
    write_config(tmp_path / "b", layer_norm_epsilon=1e-6)
    fourth = ModelFolder.open(tmp_path / "b")
    assert len({first.revision, third.revision, fourth.revision}) == 3
    assert ModelFolder.open(tmp_path / "a", name="n", revision="commit").revision == "commit"


def test_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    tensors = tiny_tensors()
    tensors["transformer.wte.weight"] = tensors["transformer.wte.weight"][:100]
    folder = write_checkpoint(tmp_path / "model", config={"vocab_size": 100}, tensors=tensors)
    with pytest.raises(ModelFormatError, match=r"ids up to 270.*vocab_size is 100"):
        ModelFolder.open(folder).load_tokenizer()


def test_missing_tokenizer_says_what_to_do(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model", with_tokenizer=False)
    with pytest.raises(ModelFormatError, match=r"tokenizer\.json, or vocab\.json and merges\.txt"):
        ModelFolder.open(folder).load_tokenizer()


def test_models_are_checked_without_torch(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "model")
    script = (
        "import sys; from pathlib import Path\n"
        "from gpt2svc.models.catalogue import ModelCatalogue\n"
        "import gpt2svc.models.hub\n"
        "heavy = ('torch', 'transformers', 'safetensors', 'numpy', 'huggingface_hub')\n"
        "assert 'tokenizers' not in sys.modules\n"
        "folder = ModelCatalogue(Path('none')).resolve(sys.argv[1], allow_folder=True)\n"
        "folder.load_tokenizer()\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "model")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env=dict(os.environ))
    assert done.stdout.strip() == "[]"
