"""The header of a safetensors file, read and checked without touching the tensors."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gpt2svc.errors import ModelFormatError, UnsafeModelError
from gpt2svc.models.json_file import parse_json_object

HOW_TO_CONVERT: Final = (
    "Pickle files can run any code when they are read, so they are not served. If you trust where it comes from, "
    "convert it once: gpt2svc convert FOLDER --output NEW_FOLDER --allow-pickle"
)

# GPT-2 xl's header has 60 kB.
_MAX_HEADER_BYTES: Final = 16 << 20
_MAX_TENSORS: Final = 200_000

_ITEM_BYTES: Final[Mapping[str, int]] = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2"), 1),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 2),
    **dict.fromkeys(("I32", "U32", "F32"), 4),
    **dict.fromkeys(("I64", "U64", "F64"), 8),
}


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """Where one tensor lies: `num_bytes` bytes, row-major and little-endian, from byte `offset` of `file`."""

    name: str  # as the file has it
    file: Path
    dtype: str  # safetensors' spelling: "F32", "BF16", "F16", …
    shape: tuple[int, ...]
    offset: int
    num_bytes: int


def read_safetensors_header(path: Path) -> tuple[TensorEntry, ...]:
    """The tensors of a safetensors file, in the file's order.

    The tensors' bytes must cover the file exactly: each inside it, none overlapping, none left over, each as long as
    its shape and dtype say. Raises ModelFormatError where the file is otherwise, and UnsafeModelError where it is a
    pickle under another name.
    """
    try:
        with path.open("rb") as file:
            file_size = file.seek(0, 2)
            file.seek(0)
            start = file.read(16)
            header_size = int.from_bytes(start[:8], "little")
            if len(start) < 10 or start[8:9] != b"{" or header_size > min(_MAX_HEADER_BYTES, file_size - 8):
                raise _not_safetensors(path, start, file_size)
            file.seek(8)
            header_bytes = file.read(header_size)
    except OSError as error:
        raise ModelFormatError(f"Can't read {path}: {error.strerror or error}.", field=path.name) from error
    if len(header_bytes) != header_size:
        raise ModelFormatError(f"{path} is truncated.", field=path.name)

    header = parse_json_object(header_bytes, source=path.name)
    header.pop("__metadata__", None)
    if len(header) > _MAX_TENSORS:
        raise ModelFormatError(f"{path.name} lists more than {_MAX_TENSORS:,} tensors.", field=path.name)
    first_byte = 8 + header_size
    entries = sorted(
        (_entry(path, name, described, first_byte) for name, described in header.items()),
        key=lambda entry: (entry.offset, entry.num_bytes),
    )
    end = first_byte
    for entry in entries:
        if entry.offset != end:
            problem = "overlaps the tensor before it" if entry.offset < end else "leaves a gap before it"
            raise ModelFormatError(f"{path.name}: tensor {entry.name[:100]!r} {problem}.", field=path.name)
        end = entry.offset + entry.num_bytes
    if end != file_size:
        raise ModelFormatError(
            f"{path.name} should have {end:,} bytes but has {file_size:,}: it is truncated or damaged. "
            "Download or copy it again.",
            field=path.name,
        )
    return tuple(entries)


def is_pickle(start: bytes) -> bool:
    """Whether a file that starts with these bytes is a pickle, or the zip archive in which torch keeps one."""
    if start.startswith(b"PK\x03\x04"):
        return True
    return len(start) > 1 and start[0] == 0x80 and 1 <= start[1] <= 5


def _not_safetensors(path: Path, start: bytes, file_size: int) -> Exception:
    if is_pickle(start):
        return UnsafeModelError(f"{path.name} is a pickle, whatever its name says. {HOW_TO_CONVERT}", field=path.name)
    if start.startswith(b"version https://"):
        return ModelFormatError(
            f"{path.name} is a Git LFS pointer, not the file itself: run `git lfs pull` in its folder.", field=path.name
        )
    return ModelFormatError(
        f"{path.name} ({file_size:,} bytes) is not a safetensors file: its header is missing or its length is wrong.",
        field=path.name,
    )


def _entry(path: Path, name: str, described: Any, first_byte: int) -> TensorEntry:
    def error(problem: str) -> ModelFormatError:
        return ModelFormatError(f"{path.name}: tensor {name[:100]!r} {problem}.", field=path.name)

    if not isinstance(described, dict):
        raise error("is not described by an object")
    dtype = described.get("dtype")
    item_bytes = _ITEM_BYTES.get(dtype) if isinstance(dtype, str) else None
    if not isinstance(dtype, str) or item_bytes is None:
        raise error(f"has the unknown dtype {str(dtype)[:40]!r}")
    shape = _whole_numbers(described.get("shape"))
    if shape is None or len(shape) > 8:
        raise error("has a shape that is not up to 8 whole numbers")
    offsets = _whole_numbers(described.get("data_offsets"))
    if offsets is None or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise error("has data_offsets that are not two whole numbers in order")
    num_bytes = offsets[1] - offsets[0]
    if math.prod(shape) * item_bytes != num_bytes:
        raise error(f"of shape {list(shape)} and dtype {dtype} can't take {num_bytes} bytes")
    return TensorEntry(name, path, dtype, shape, first_byte + offsets[0], num_bytes)


def _whole_numbers(value: Any) -> tuple[int, ...] | None:
    """As a tuple, or None where it is anything but a list of integers from 0 to 2^63 - 1."""
    if not isinstance(value, list) or len(value) > 16:
        return None
    if any(isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 1 << 63 for number in value):
        return None
    return tuple(value)
