"""A model that classifies as an ONNX graph.

    inputs   input_ids, attention_mask
    outputs  logits (batch_size, num_labels)

The last token that is not padding decides, by the attention mask; padding may be on either side.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto

from gpt2svc.export.gpt2_graph import BATCH, SEQUENCE, TransformerGraph
from gpt2svc.export.precision import Precision
from gpt2svc.models.config import GPT2Config
from gpt2svc.models.task_head import SCORE_WEIGHT
from gpt2svc.models.weights import WeightReader


def build_classifier(
    config: GPT2Config, weights: WeightReader, precision: Precision, data_path: Path | None = None
) -> onnx.ModelProto:
    """The model in `precision`; with `data_path` its weights are written there."""
    return _ClassifierGraph(config, weights, precision, data_path).build()


class _ClassifierGraph(TransformerGraph):
    def build(self) -> onnx.ModelProto:
        graph = self._graph
        input_ids = graph.input("input_ids", TensorProto.INT64, [BATCH, SEQUENCE])
        attention_mask = graph.input("attention_mask", TensorProto.INT64, [BATCH, SEQUENCE])
        zero, axis = graph.scalar(0, np.int64), graph.integers(1)
        counted = graph.node("CumSum", attention_mask, graph.scalar(1, np.int64))
        position_ids = graph.node("Max", graph.node("Sub", counted, graph.scalar(1, np.int64)), zero)
        length = self._length(input_ids, 1)
        mask = self._mask(attention_mask, zero, length)
        x = self._embedded(input_ids, position_ids)
        for i in range(self._config.n_layer):
            x, _, _ = self._block(i, x, (), mask)
        places = graph.node("Range", zero, length, graph.scalar(1, np.int64))
        last = graph.node("ReduceMax", graph.node("Mul", attention_mask, places), axes=[1], keepdims=1)
        # (batch_size, 1, n_embd), then without the axis of one
        row = graph.node("GatherND", x, graph.node("Unsqueeze", last, graph.integers(2)), batch_dims=1)
        row = graph.node("Squeeze", self._finished(row), axis)
        matrix = self._read(SCORE_WEIGHT, keep_float32=True)
        logits = self._in_float32(self._projection.apply_rows(row, SCORE_WEIGHT, matrix))
        graph.output("logits", TensorProto.FLOAT, [BATCH, len(matrix)], logits)
        return graph.finish()
