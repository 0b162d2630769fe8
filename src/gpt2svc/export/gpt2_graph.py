"""GPT-2 as an ONNX graph with a KV cache, in the shape that Transformers.js and onnxruntime's own tools expect.

    inputs   input_ids, attention_mask, position_ids, past_key_values.{i}.key | value
    outputs  logits, present.{i}.key | value

One graph reads a prompt (with a past of length 0), single steps and anything between. Built node by node rather than
traced: names and axes are then exactly those, the tied embedding is stored once, and projections are MatMul, which
quantisers know.
"""

from collections.abc import Callable
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
    return _Gpt2Graph(config, weights, precision, data_path).build()


class _Gpt2Graph:
    def __init__(self, config: GPT2Config, weights: WeightReader, precision: Precision, data_path: Path | None) -> None:
        self._config = config
        self._weights = weights
        self._is_half = precision is FP16
        self._dtype = np.dtype(np.float16 if self._is_half else np.float32)
        self._element = TensorProto.FLOAT16 if self._is_half else TensorProto.FLOAT
        self._graph = GraphBuilder("gpt2", data_path)
        self._projection = Projection(self._graph, self._dtype, is_quantized=precision is Q8)

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
        mask = self._mask(input_ids, attention_mask, past[0][0])
        embedding = self._read("wte.weight", keep_float32=True)
        x = self._projection.gather("wte.weight", embedding, input_ids)
        x = graph.node("Add", x, graph.node("Gather", self._weight("wpe.weight"), position_ids))
        for i, (key, value) in enumerate(past):
            attended, keys, values = self._attention(i, self._norm(f"h.{i}.ln_1", x), key, value, mask)
            x = graph.node("Add", x, attended)
            x = graph.node("Add", x, self._mlp(i, self._norm(f"h.{i}.ln_2", x)))
            for kind, result in (("key", keys), ("value", values)):
                shape: list[str | int] = [BATCH, config.n_head, TOTAL, config.head_dim]
                graph.output(f"present.{i}.{kind}", self._element, shape, result)
        head = "wte.weight" if config.tie_word_embeddings else "lm_head.weight"
        matrix = embedding if config.tie_word_embeddings else self._read(head, keep_float32=True)
        logits = self._projection.apply_rows(self._norm("ln_f", x), head, matrix)
        if self._is_half:  # what reads them samples in float32
            logits = graph.node("Cast", logits, to=TensorProto.FLOAT)
        graph.output("logits", TensorProto.FLOAT, [BATCH, SEQUENCE, config.vocab_size], logits)
        return graph.finish()

    def _mask(self, input_ids: str, attention_mask: str, past_key: str) -> str:
        """Which key a query may see: bool (batch_size, 1, sequence_length, total_sequence_length)."""
        graph = self._graph

        def length(value: str, axis: int) -> str:
            return graph.node("Gather", graph.node("Shape", value), graph.scalar(axis, np.int64))

        num_past = length(past_key, 2)
        num_total = graph.node("Add", num_past, length(input_ids, 1))
        one = graph.scalar(1, np.int64)
        keys = graph.node("Range", graph.scalar(0, np.int64), num_total, one)
        queries = graph.node("Unsqueeze", graph.node("Range", num_past, num_total, one), graph.integers(1))
        causal = graph.node("LessOrEqual", keys, queries)
        is_there = graph.node(
            "Unsqueeze", graph.node("Cast", attention_mask, to=TensorProto.BOOL), graph.integers(1, 2)
        )
        return graph.node("And", causal, is_there)

    def _attention(self, index: int, x: str, past_key: str, past_value: str, mask: str) -> tuple[str, str, str]:
        """What is added to the residual, and all keys and values (batch_size, n_head, total, head_dim)."""
        graph, config = self._graph, self._config
        heads = graph.integers(0, 0, config.n_head, config.head_dim)
        qkv = self._linear(f"h.{index}.attn.c_attn", x)
        parts = graph.nodes("Split", 3, qkv, axis=-1)
        query, key, value = (
            graph.node("Transpose", graph.node("Reshape", part, heads), perm=[0, 2, 1, 3]) for part in parts
        )
        keys = graph.node("Concat", past_key, key, axis=2)
        values = graph.node("Concat", past_value, value, axis=2)
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


def _score_scale(config: GPT2Config, index: int) -> float:
    scale = config.head_dim**-0.5 if config.scale_attn_weights else 1.0
    return scale / (index + 1) if config.scale_attn_by_inverse_layer_idx else scale
