import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from transformers import AutoTokenizer, GPT2LMHeadModel

from gpt2svc.errors import InvalidInputError, ModelFormatError
from gpt2svc.export.gpt2_graph import build_gpt2
from gpt2svc.export.onnx_export import export_onnx
from gpt2svc.export.precision import FP16, FP32, Q8
from gpt2svc.export.verification import Verifier
from gpt2svc.models.folder import ModelFolder
from gpt2svc.models.weights import WeightReader
from tests.export.conftest import VARIANTS
from tests.fakes.checkpoints import random_gpt2, write_checkpoint


def session_of(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def greedy(session: onnxruntime.InferenceSession, ids: list[int], num_new: int) -> tuple[list[int], np.ndarray]:
    """As Transformers.js decodes: an empty past first, then a token at a time. New ids, and all logits seen."""
    past: dict[str, Any] = {}
    for described in session.get_inputs():
        if described.name.startswith("past_key_values."):
            _, heads, _, width = described.shape
            dtype = np.float16 if "float16" in described.type else np.float32
            past[described.name] = np.zeros((1, heads, 0, width), dtype)
    names = [described.name for described in session.get_outputs()]
    new: list[int] = []
    rows = []
    feed = ids
    while len(new) < num_new:
        total = len(ids) + len(new)
        inputs = {
            "input_ids": np.array([feed]),
            "attention_mask": np.ones((1, total), np.int64),
            "position_ids": np.arange(total - len(feed), total)[None],
        }
        results = dict(zip(names, session.run(names, inputs | past), strict=True))
        rows.append(results.pop("logits")[0])
        past = {name.replace("present.", "past_key_values."): value for name, value in results.items()}
        feed = [int(rows[-1][-1].argmax())]
        new += feed
    return new, np.concatenate(rows)


@pytest.mark.parametrize("variant", VARIANTS)
def test_decoding_in_onnxruntime_gives_the_logits_of_transformers(
    variant: str, models: dict[str, GPT2LMHeadModel], folders: dict[str, Path], tmp_path: Path
) -> None:
    [graph] = export_onnx(ModelFolder.open(folders[variant]), tmp_path / "out")
    assert graph.error < 1e-5
    model = models[variant]
    prompt = [3, 200, 7, 7, 90][: model.config.n_positions - 1]
    num_new = min(20, model.config.n_positions - len(prompt))
    new, logits = greedy(session_of(tmp_path / "out" / graph.file), prompt, num_new)
    with torch.no_grad():
        expected = model(torch.tensor([[*prompt, *new[:-1]]])).logits[0].numpy()
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-3)
    assert new == expected[len(prompt) - 1 :].argmax(-1).tolist()


def test_names_axes_and_opset_are_what_transformers_js_takes(folders: dict[str, Path], tmp_path: Path) -> None:
    export_onnx(ModelFolder.open(folders["plain"]), tmp_path / "out")
    model = onnx.load(tmp_path / "out" / "onnx" / "model.onnx")

    def axes(value: onnx.ValueInfoProto) -> list[str | int]:
        return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]

    cache = [f"{layer}.{kind}" for layer in range(2) for kind in ("key", "value")]
    inputs = {value.name: axes(value) for value in model.graph.input}
    assert inputs == {
        "input_ids": ["batch_size", "sequence_length"],
        "attention_mask": ["batch_size", "total_sequence_length"],
        "position_ids": ["batch_size", "sequence_length"],
        **{f"past_key_values.{name}": ["batch_size", 4, "past_sequence_length", 16] for name in cache},
    }
    outputs = {value.name: axes(value) for value in model.graph.output}
    assert outputs == {
        "logits": ["batch_size", "sequence_length", 272],
        **{f"present.{name}": ["batch_size", 4, "total_sequence_length", 16] for name in cache},
    }
    assert {entry.domain for entry in model.opset_import} == {""}


def test_the_embedding_is_stored_once_in_every_precision(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = ModelFolder.open(folders["plain"])
    graphs = export_onnx(folder, tmp_path / "out", [FP32, Q8, FP16])
    assert [graph.precision for graph in graphs] == ["fp32", "q8", "fp16"]
    assert all(graph.error <= graph.tolerance for graph in graphs)
    for graph, (bytes_of_matrices, bytes_of_rest) in zip(graphs, [(4, 4), (1, 4), (2, 2)], strict=True):
        model = onnx.load(tmp_path / "out" / graph.file)
        sizes = [np.prod(tensor.dims) for tensor in model.graph.initializer if len(tensor.dims) == 2]
        num_in_matrices = sum(np.prod(entry.shape) for entry in folder.tensors.values() if len(entry.shape) == 2)
        assert sum(sizes) == num_in_matrices
        positions = np.prod(folder.tensors["wpe.weight"].shape)
        stored = sum(len(tensor.raw_data) for tensor in model.graph.initializer if len(tensor.dims) == 2)
        assert stored == (num_in_matrices - positions) * bytes_of_matrices + positions * bytes_of_rest


def test_quantised_and_half_graphs_decode_close_to_the_model(
    models: dict[str, GPT2LMHeadModel], folders: dict[str, Path], tmp_path: Path
) -> None:
    export_onnx(ModelFolder.open(folders["plain"]), tmp_path / "out", [Q8, FP16])
    for name, tolerance in (("model_quantized.onnx", 0.15), ("model_fp16.onnx", 0.01)):
        session = session_of(tmp_path / "out" / "onnx" / name)
        new, logits = greedy(session, [3, 200, 7], 10)
        with torch.no_grad():
            expected = models["plain"](torch.tensor([[3, 200, 7, *new[:-1]]])).logits[0].numpy()
        assert logits.dtype == np.float32
        assert np.sqrt(np.mean((logits - expected) ** 2)) < tolerance * expected.std()


def test_large_weights_lie_beside_the_graph_where_transformers_js_looks(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = ModelFolder.open(folders["untied"])
    inline, external = tmp_path / "inline", tmp_path / "external"
    export_onnx(folder, inline)
    [graph] = export_onnx(folder, external, max_inline_bytes=100_000)
    graph_file, data_file = external / "onnx" / "model.onnx", external / "onnx" / "model.onnx_data"
    assert graph.num_bytes == graph_file.stat().st_size + data_file.stat().st_size
    assert graph_file.stat().st_size < 100_000 < data_file.stat().st_size
    config = json.loads((external / "config.json").read_text(encoding="utf-8"))
    assert config["transformers.js_config"]["use_external_data_format"] == {"model.onnx": 1}
    ours, theirs = (greedy(session_of(place / "onnx" / "model.onnx"), [5, 6], 8) for place in (external, inline))
    assert ours[0] == theirs[0]
    np.testing.assert_array_equal(ours[1], theirs[1])


def test_configuration_and_tokenizer_are_whole(folders: dict[str, Path], tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for file in folders["plain"].iterdir():
        (source / file.name).write_bytes(file.read_bytes())
    (source / "chat_template.jinja").write_text("{{ messages[0]['content'] }} — шаблон", encoding="utf-8")
    export_onnx(ModelFolder.open(source), tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))
    assert config["max_position_embeddings"] == config["n_positions"] == 96
    assert (config["model_type"], config["architectures"]) == ("gpt2", ["GPT2LMHeadModel"])
    described = json.loads((tmp_path / "out" / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert described["chat_template"].endswith("шаблон")
    assert described["model_max_length"] == 96
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer("hello the")["input_ids"] == AutoTokenizer.from_pretrained(source)("hello the")["input_ids"]


def test_a_graph_that_is_not_the_model_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = ModelFolder.open(folders["plain"])
    other = ModelFolder.open(write_checkpoint(tmp_path / "other", random_gpt2(99, vocab_size=272, n_layer=2)))
    graph = build_gpt2(other.config, WeightReader(other), FP32)
    path = tmp_path / "model.onnx"
    path.write_bytes(graph.SerializeToString())
    verifier = Verifier(folder.path, folder.config)
    with pytest.raises(ModelFormatError, match="is not the model"):
        verifier.verify(path, FP32)


def test_nothing_is_left_of_an_export_that_fails(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = ModelFolder.open(folders["plain"])

    def fail(stage: str) -> None:
        if stage.startswith("Verifying"):
            raise ModelFormatError("It failed.")

    with pytest.raises(ModelFormatError, match="It failed"):
        export_onnx(folder, tmp_path / "deep" / "out", on_stage=fail)
    assert list((tmp_path / "deep").iterdir()) == []
    with pytest.raises(InvalidInputError, match="already exists"):
        export_onnx(folder, folder.path)
    bare = ModelFolder.open(write_checkpoint(tmp_path / "bare", random_gpt2(1)))
    with pytest.raises(ModelFormatError, match="tokenizer"):
        export_onnx(bare, tmp_path / "out")
    assert not (tmp_path / "out").exists()
