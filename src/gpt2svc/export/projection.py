"""Projection: products with weight matrices, as they are or in 8 bits.

In 8 bits a matrix is unsigned with zero at 128 and one scale a column: signed ones saturate on processors without a dot
product for bytes. Activations are quantised as they come, a tensor at a time (DynamicQuantizeLinear); the products and
their sums are exact integers (MatMulInteger).
"""

from typing import Any, Final

import numpy as np
from onnx import TensorProto

from gpt2svc.export.graph_builder import Array, GraphBuilder

_ZERO: Final = 128


class Projection:
    def __init__(self, graph: GraphBuilder, dtype: "np.dtype[Any]", *, is_quantized: bool) -> None:
        self._graph = graph
        self._dtype = dtype
        self._is_quantized = is_quantized

    def apply(self, x: str, name: str, matrix: Array) -> str:
        """x (…, in) times `matrix` (in, out)."""
        if not self._is_quantized:
            return self._graph.node("MatMul", x, self._graph.weight(name, matrix.astype(self._dtype)))
        scale = _scales(matrix, axis=0)
        quantized = self._graph.weight(f"{name}_quantized", _quantized(matrix, scale))
        return self._integer_product(x, quantized, self._graph.weight(f"{name}_scale", scale[0]))

    def apply_rows(self, x: str, name: str, matrix: Array) -> str:
        """x (…, in) times the transpose of `matrix` (out, in), which `gather` may share."""
        graph = self._graph
        if not self._is_quantized:
            stored = graph.weight(name, matrix.astype(self._dtype))
            return graph.node("MatMul", x, graph.node("Transpose", stored, perm=[1, 0]))
        quantized, scale = self._quantized_rows(name, matrix)
        return self._integer_product(x, graph.node("Transpose", quantized, perm=[1, 0]), scale)

    def gather(self, name: str, matrix: Array, ids: str) -> str:
        """Rows of `matrix` (rows, width)."""
        graph = self._graph
        if not self._is_quantized:
            return graph.node("Gather", graph.weight(name, matrix.astype(self._dtype)), ids)
        quantized, scale = self._quantized_rows(name, matrix)
        rows = graph.node("Cast", graph.node("Gather", quantized, ids), to=TensorProto.FLOAT)
        rows = graph.node("Sub", rows, graph.scalar(float(_ZERO), np.float32))
        scales = graph.node("Unsqueeze", graph.node("Gather", scale, ids), graph.integers(-1))
        return graph.node("Mul", rows, scales)

    def _quantized_rows(self, name: str, matrix: Array) -> tuple[str, str]:
        scale = _scales(matrix, axis=1)
        quantized = self._graph.weight(f"{name}_quantized", _quantized(matrix, scale))
        return quantized, self._graph.weight(f"{name}_scale", scale[:, 0])

    def _integer_product(self, x: str, matrix: str, matrix_scale: str) -> str:
        graph = self._graph
        quantized, scale, zero = graph.nodes("DynamicQuantizeLinear", 3, x)
        zero_of_matrix = graph.weight("zero_of_weights", np.array(_ZERO, dtype=np.uint8))
        product = graph.node("MatMulInteger", quantized, matrix, zero, zero_of_matrix)
        product = graph.node("Cast", product, to=TensorProto.FLOAT)
        return graph.node("Mul", product, graph.node("Mul", scale, matrix_scale))


def _scales(matrix: Array, *, axis: int) -> Array:
    """The largest number along `axis` becomes 127; what is all zeros gets a scale of 1."""
    largest = np.abs(matrix).max(axis=axis, keepdims=True)
    scale: Array = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    return scale


def _quantized(matrix: Array, scale: Array) -> Array:
    quantized: Array = np.clip(np.rint(matrix / scale) + _ZERO, 0, 255).astype(np.uint8)
    return quantized
