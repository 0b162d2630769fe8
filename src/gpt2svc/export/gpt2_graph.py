"""GPT-2 or GPT-1 as an ONNX graph with a KV cache, in the shape that Transformers.js and onnxruntime's tools expect.

    inputs   input_ids, attention_mask, position_ids, past_key_values.{i}.key | value
    outputs  logits, present.{i}.key | value

One graph reads a prompt (with a past of length 0), single steps and anything between. Built node by node rather than
traced: names and axes are then exactly those, the tied embedding is stored once, and projections are MatMul, which
quantisers know.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto

from gpt2svc.export.graph_builder import GraphBuilder
from gpt2svc.export.precision import FP16, Q8, Precision
from gpt2svc.export.projection import Projection
from gpt2svc.models.config import GPT2Config
from gpt2svc.models.weights import WeightReader

BATCH: Final = "batch_size"  # NOTE: Transformers.js looks for exactly this name; it takes any other axis as 0
SEQUENCE: Final = "sequence_length"
PAST: Final = "past_sequence_length"
TOTAL: Final = "total_sequence_length"


def build_gpt2(
    config: GPT2Config, weights: WeightReader, precision: Precision, data_path: Path | None = None
) -> onnx.ModelProto:
    """The model in `precision`; with `data_path` its weights are written there."""
    return _LanguageGraph(config, weights, precision, data_path).build()


class TransformerGraph:
    """The blocks of a model, between its embedding and its head."""

    def __init__(self, config: GPT2Config, weights: WeightReader, precision: Precision, data_path: Path | None) -> None:
        self._config = config
        self._weights = weights
        self._is_half = precision is FP16
        self._dtype = np.dtype(np.float16 if self._is_half else np.float32)
        self._element = TensorProto.FLOAT16 if self._is_half else TensorProto.FLOAT
        self._graph = GraphBuilder("gpt2", data_path)
        self._projection = Projection(self._graph, self._dtype, is_quantized=precision is Q8)

    def _embedded(self, input_ids: str, position_ids: str) -> str:
        x = self._projection.gather("wte.weight", self._read("wte.weight", keep_float32=True), input_ids)
        return self._graph.node("Add", x, self._graph.node("Gather", self._weight("wpe.weight"), position_ids))

    def _block(self, index: int, x: str, past: Sequence[str], mask: str) -> tuple[str, str, str]:
        """The sequence after a block, and all its keys and values. `past` is empty where there is none."""
        graph, norms = self._graph, (f"h.{index}.ln_1", f"h.{index}.ln_2")
        if self._config.architecture == "openai-gpt":  # the norms come after the sums
            attended, keys, values = self._attention(index, x, past, mask)
            x = self._norm(norms[0], graph.node("Add", x, attended))
            return self._norm(norms[1], graph.node("Add", x, self._mlp(index, x))), keys, values
        attended, keys, values = self._attention(index, self._norm(norms[0], x), past, mask)
        x = graph.node("Add", x, attended)
        return graph.node("Add", x, self._mlp(index, self._norm(norms[1], x))), keys, values

    def _finished(self, x: str) -> str:
        return x if self._config.architecture == "openai-gpt" else self._norm("ln_f", x)

    def _in_float32(self, logits: str) -> str:
        """For what reads them."""
        return self._graph.node("Cast", logits, to=TensorProto.FLOAT) if self._is_half else logits

    def _length(self, value: str, axis: int) -> str:
        return self._graph.node("Gather", self._graph.node("Shape", value), self._graph.scalar(axis, np.int64))

    def _mask(self, attention_mask: str, first: str, end: str) -> str:
        """Which key a query may see, of queries from `first` to before `end`, and keys before `end`:

        bool (batch_size, 1, sequence_length, total_sequence_length).
        """
        graph = self._graph
        one = graph.scalar(1, np.int64)
        keys = graph.node("Range", graph.scalar(0, np.int64), end, one)
        queries = graph.node("Unsqueeze", graph.node("Range", first, end, one), graph.integers(1))
        causal = graph.node("LessOrEqual", keys, queries)
        is_there = graph.node(
            "Unsqueeze", graph.node("Cast", attention_mask, to=TensorProto.BOOL), graph.integers(1, 2)
        )
        return graph.node("And", causal, is_there)

    def _attention(self, index: int, x: str, past: Sequence[str], mask: str) -> tuple[str, str, str]:
        """What is added to the residual, and all keys and values (batch_size, n_head, total, head_dim)."""
        graph, config = self._graph, self._config
        heads = graph.integers(0, 0, config.n_head, config.head_dim)
        qkv = self._linear(f"h.{index}.attn.c_attn", x)
        parts = graph.nodes("Split", 3, qkv, axis=-1)
        query, key, value = (
            graph.node("Transpose", graph.node("Reshape", part, heads), perm=[0, 2, 1, 3]) for part in parts
        )
        keys, values = key, value
        if past:
            keys = graph.node("Concat", past[0], key, axis=2)
            values = graph.node("Concat", past[1], value, axis=2)
        query = graph.node("Mul", query, graph.scalar(_score_scale(config, index), self._dtype))
        scores = graph.node("MatMul", query, graph.node("Transpose", keys, perm=[0, 1, 3, 2]))
        # NOTE: replaced, not added to: a row of padding sees no key at all, and the sum of two lowest numbers would
        # make it NaN, which spreads through the values.
        lowest = graph.scalar(float(np.finfo(np.float16 if self._is_half else np.float32).min), self._dtype)
        scores = graph.node("Softmax", graph.node("Where", mask, scores, lowest), axis=-1)
        attended = graph.node("Transpose", graph.node("MatMul", scores, values), perm=[0, 2, 1, 3])
        merged = graph.node("Reshape", attended, graph.integers(0, 0, config.n_embd))
        return self._linear(f"h.{index}.attn.c_proj", merged), keys, values

    def _mlp(self, index: int, x: str) -> str:
        hidden = self._activation(self._linear(f"h.{index}.mlp.c_fc", x))
        return self._linear(f"h.{index}.mlp.c_proj", hidden)

    def _activation(self, x: str) -> str:
        graph = self._graph
        operators: dict[str, Callable[[], str]] = {
            "relu": lambda: graph.node("Relu", x),
            "tanh": lambda: graph.node("Tanh", x),
            "silu": lambda: graph.node("Mul", x, graph.node("Sigmoid", x)),
            "gelu": lambda: self._half_of(x, graph.node("Erf", self._times(x, 0.5**0.5))),
            "gelu_new": lambda: self._half_of(x, graph.node("Tanh", self._gelu_tanh_argument(x))),
        }
        return operators[self._config.activation_function]()

    def _gelu_tanh_argument(self, x: str) -> str:
        graph = self._graph
        cube = graph.node("Mul", graph.node("Mul", x, x), x)
        return self._times(graph.node("Add", x, self._times(cube, 0.044715)), (2 / np.pi) ** 0.5)

    def _half_of(self, x: str, curve: str) -> str:
        """x / 2 · (1 + curve)"""
        graph = self._graph
        return graph.node("Mul", self._times(x, 0.5), graph.node("Add", curve, graph.scalar(1.0, self._dtype)))

    def _times(self, x: str, factor: float) -> str:
        return self._graph.node("Mul", x, self._graph.scalar(float(factor), self._dtype))

    def _linear(self, name: str, x: str) -> str:
        matrix = self._read(f"{name}.weight", keep_float32=True)
        y = self._projection.apply(x, f"{name}.weight", matrix)
        return self._graph.node("Add", y, self._weight(f"{name}.bias"))

    def _norm(self, name: str, x: str) -> str:
        return self._graph.node(
            "LayerNormalization",
            x,
            self._weight(f"{name}.weight"),
            self._weight(f"{name}.bias"),
            axis=-1,
            epsilon=self._config.layer_norm_epsilon,
        )

    def _weight(self, name: str) -> str:
        return self._graph.weight(name, self._read(name))

    def _read(self, name: str, *, keep_float32: bool = False) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
        array: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = self._weights.read(name).float().numpy()
        return array if keep_float32 else array.astype(self._dtype)


class _LanguageGraph(TransformerGraph):
    def build(self) -> onnx.ModelProto:
        graph, config = self._graph, self._config
        input_ids = graph.input("input_ids", TensorProto.INT64, [BATCH, SEQUENCE])
        attention_mask = graph.input("attention_mask", TensorProto.INT64, [BATCH, TOTAL])
        position_ids = graph.input("position_ids", TensorProto.INT64, [BATCH, SEQUENCE])
        past = [
            [
                graph.input(f"past_key_values.{i}.{kind}", self._element, [BATCH, config.n_head, PAST, config.head_dim])
                for kind in ("key", "value")
            ]
            for i in range(config.n_layer)
        ]
        num_past = self._length(past[0][0], 2)
        num_total = graph.node("Add", num_past, self._length(input_ids, 1))
        mask = self._mask(attention_mask, num_past, num_total)
        x = self._embedded(input_ids, position_ids)
        for i, of_layer in enumerate(past):
            x, keys, values = self._block(i, x, of_layer, mask)
            for kind, result in (("key", keys), ("value", values)):
                shape: list[str | int] = [BATCH, config.n_head, TOTAL, config.head_dim]
                graph.output(f"present.{i}.{kind}", self._element, shape, result)
        head = "wte.weight" if config.tie_word_embeddings else "lm_head.weight"
        logits = self._projection.apply_rows(self._finished(x), head, self._read(head, keep_float32=True))
        logits = self._in_float32(logits)
        graph.output("logits", TensorProto.FLOAT, [BATCH, SEQUENCE, config.vocab_size], logits)
        return graph.finish()


def _score_scale(config: GPT2Config, index: int) -> float:
    scale = config.head_dim**-0.5 if config.scale_attn_weights else 1.0
    return scale / (index + 1) if config.scale_attn_by_inverse_layer_idx else scale
