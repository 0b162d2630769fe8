"""Writing a safetensors file piece by piece, so that a model of any size takes little memory."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from gpt2svc.errors import ModelFormatError


def write_float32_file(
    path: Path, shapes: Mapping[str, tuple[int, ...]], contents: Iterable[tuple[str, Iterable[bytes]]]
) -> None:
    """`shapes` by tensor name, in the order of `contents`, which are row-major and little-endian, in pieces.

    Raises ModelFormatError where a content is not as long as its shape says.
    """
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, shape in shapes.items():
        end = offset + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    encoded = json.dumps(header).encode("utf-8")
    encoded += b" " * (-len(encoded) % 8)
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for (name, shape), (found, pieces) in zip(shapes.items(), contents, strict=True):
            num_bytes = sum(file.write(piece) for piece in pieces)
            if found != name or num_bytes != 4 * math.prod(shape):
                raise ModelFormatError(f"{name} has {num_bytes:,} bytes where {4 * math.prod(shape):,} are expected.")
