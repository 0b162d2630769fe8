"""GraphBuilder: an ONNX graph, node by node, with its weights in the file or beside it."""

from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET: Final = 17
_IR_VERSION: Final = 8
_ALIGNMENT: Final = 64
_INLINE_BYTES: Final = 1024  # smaller ones stay in the graph in any case: shapes and scalars must be there at load

Array = np.ndarray[Any, Any]


class GraphBuilder:
    """With `data_path` the weights go to that file, which the graph names: protocol buffers end at 2 GB."""

    def __init__(self, name: str, data_path: Path | None = None) -> None:
        self._name = name
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._data_path = data_path
        self._data: BinaryIO | None = data_path.open("wb") if data_path is not None else None

    def input(self, name: str, element: int, shape: list[str | int]) -> str:
        """`shape` has a name for each axis that is free."""
        self._inputs.append(helper.make_tensor_value_info(name, element, shape))
        return name

    def output(self, name: str, element: int, shape: list[str | int], value: str) -> None:
        self._nodes.append(helper.make_node("Identity", [value], [name], name=f"{name}/Identity"))
        self._outputs.append(helper.make_tensor_value_info(name, element, shape))

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        """The name of its only output. An empty input name leaves an optional input out."""
        return self.nodes(op, 1, *inputs, **attributes)[0]

    def nodes(self, op: str, num_outputs: int, *inputs: str, **attributes: Any) -> list[str]:
        """The names of its outputs."""
        name = f"{op}_{len(self._nodes)}"
        outputs = [f"{name}_{i}" for i in range(num_outputs)]
        self._nodes.append(helper.make_node(op, list(inputs), outputs, name=name, **attributes))
        return outputs

    def weight(self, name: str, array: Array) -> str:
        """An initializer; one that is there already under this name is used again."""
        if name not in self._initializers:
            array = np.ascontiguousarray(array)
            if self._data is None or array.nbytes <= _INLINE_BYTES:
                self._initializers[name] = numpy_helper.from_array(array, name)
            else:
                self._initializers[name] = self._external(name, array, self._data)
        return name

    def integers(self, *values: int) -> str:
        """A constant int64 vector."""
        return self.weight("i_" + "_".join(map(str, values)), np.array(values, dtype=np.int64))

    def scalar(self, value: float, dtype: Any) -> str:
        return self.weight(f"{np.dtype(dtype).name}_{value}", np.array(value, dtype=dtype))

    def finish(self) -> onnx.ModelProto:
        """The checked model; closes the file of the weights."""
        if self._data is not None:
            self._data.close()
        graph = helper.make_graph(
            self._nodes, self._name, self._inputs, self._outputs, initializer=list(self._initializers.values())
        )
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION, producer_name="gpt2svc"
        )

    def _external(self, name: str, array: Array, data: BinaryIO) -> onnx.TensorProto:
        data.write(b"\0" * (-data.tell() % _ALIGNMENT))
        described = {
            "location": self._data_path.name if self._data_path is not None else "",
            "offset": data.tell(),
            "length": array.nbytes,
        }
        data.write(array.data.cast("B"))
        tensor = TensorProto(
            name=name,
            data_type=helper.np_dtype_to_tensor_dtype(array.dtype),
            dims=array.shape,
            data_location=TensorProto.EXTERNAL,
        )
        for key, value in described.items():
            tensor.external_data.add(key=key, value=str(value))
        return tensor
