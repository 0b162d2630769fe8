"""TensorBundle: a TensorFlow checkpoint, `<prefix>.index` and `<prefix>.data-0000i-of-0000n`, without TensorFlow.

The index maps each variable's name to a BundleEntryProto: dtype, shape, shard, offset, size and a masked CRC-32C of
the bytes, which are row-major and little-endian. Under the empty key it has a BundleHeaderProto.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from gpt2svc.convert.crc32c import Crc32c
from gpt2svc.convert.table import read_table
from gpt2svc.convert.wire import fields
from gpt2svc.errors import ModelFormatError
from gpt2svc.models.json_file import read_bytes

FLOAT: Final = 1  # DataType.DT_FLOAT
INDEX_SUFFIX: Final = ".index"

_MAX_INDEX_BYTES: Final = 64 << 20
_MAX_VARIABLES: Final = 200_000
_MAX_SHARDS: Final = 1000
_MAX_DIMS: Final = 16
_READ_BYTES: Final = 16 << 20


@dataclass(frozen=True, slots=True)
class Variable:
    """Where one variable's bytes lie, checked against its shape where it holds floats."""

    name: str
    dtype: int  # TensorFlow's DataType
    shape: tuple[int, ...]
    file: Path
    offset: int
    num_bytes: int
    crc: int | None
    is_sliced: bool


class TensorBundle:
    def __init__(self, variables: Mapping[str, Variable]) -> None:
        self.variables = variables

    @classmethod
    def open(cls, prefix: Path) -> Self:
        """Read the index of the checkpoint at `prefix`. Raises ModelFormatError for what is missing or damaged."""
        index = prefix.with_name(prefix.name + INDEX_SUFFIX)
        content = read_bytes(index, max_bytes=_MAX_INDEX_BYTES)
        num_shards = 0
        found: dict[str, Variable] = {}
        sizes: dict[Path, int] = {}
        for key, value in read_table(content, source=index.name):
            if not key:
                num_shards = _num_shards(value, index.name)
                continue
            if num_shards == 0 or len(found) >= _MAX_VARIABLES:
                raise ModelFormatError(f"{index.name} has no header, or far too many variables.", field=index.name)
            name = key.decode("utf-8", "replace")
            found[name] = _variable(name, value, prefix, num_shards, sizes)
        if not found:
            raise ModelFormatError(f"{index.name} lists no variables.", field=index.name)
        return cls(found)

    def read(self, variable: Variable) -> Iterator[bytes]:
        """Its bytes, piece by piece. Raises ModelFormatError where they are missing, or in the end fail their CRC."""
        crc = Crc32c()
        num_left = variable.num_bytes
        try:
            with variable.file.open("rb") as file:
                file.seek(variable.offset)
                while num_left:
                    piece = file.read(min(num_left, _READ_BYTES))
                    if not piece:
                        raise ModelFormatError(f"{variable.file.name} ends too early.", field=variable.file.name)
                    crc.update(piece)
                    num_left -= len(piece)
                    yield piece
        except OSError as error:
            raise ModelFormatError(
                f"Can't read {variable.file}: {error.strerror or error}.", field=variable.file.name
            ) from error
        if crc.masked != variable.crc:
            raise ModelFormatError(
                f"{variable.file.name}: the bytes of {variable.name} fail their checksum. Download or copy it again.",
                field=variable.file.name,
            )


def _num_shards(header: bytes, source: str) -> int:
    values = dict(fields(header, source))
    num_shards = values.get(1, 0)
    if values.get(2, 0) != 0:
        raise ModelFormatError(f"{source} was written on a big-endian machine, which is not supported.", field=source)
    if not isinstance(num_shards, int) or not 1 <= num_shards <= _MAX_SHARDS:
        raise ModelFormatError(f"{source} says that it has {num_shards!r} data files.", field=source)
    return num_shards


def _variable(name: str, content: bytes, prefix: Path, num_shards: int, sizes: dict[Path, int]) -> Variable:
    source = prefix.name + INDEX_SUFFIX
    numbers: dict[int, int] = {}
    shape: tuple[int, ...] = ()
    is_sliced = False
    for number, value in fields(content, source):
        if number == 2 and isinstance(value, bytes):
            shape = _shape(value, source)
        elif number == 7:
            is_sliced = True
        elif isinstance(value, int):
            numbers[number] = value
    dtype, shard, offset, num_bytes = (numbers.get(number, 0) for number in (1, 3, 4, 5))
    if shard >= num_shards:
        raise ModelFormatError(f"{source}: {name[:100]} is in data file {shard} of {num_shards}.", field=source)
    file = prefix.with_name(f"{prefix.name}.data-{shard:05d}-of-{num_shards:05d}")
    if file not in sizes:
        try:
            sizes[file] = file.stat().st_size
        except OSError as error:
            raise ModelFormatError(f"Can't read {file}: {error.strerror}.", field=file.name) from error
    if offset + num_bytes > sizes[file]:
        raise ModelFormatError(
            f"{file.name} has {sizes[file]:,} bytes, but {name[:100]} ends at {offset + num_bytes:,}: it is truncated "
            "or belongs to another checkpoint.",
            field=file.name,
        )
    if dtype == FLOAT and not is_sliced and num_bytes != 4 * math.prod(shape):
        raise ModelFormatError(
            f"{source}: {name[:100]} has the shape {list(shape)} but {num_bytes:,} bytes.", field=source
        )
    return Variable(name, dtype, shape, file, offset, num_bytes, numbers.get(6), is_sliced)


def _shape(content: bytes, source: str) -> tuple[int, ...]:
    dims = [value for number, value in fields(content, source) if number == 2 and isinstance(value, bytes)]
    sizes = [dict(fields(dim, source)).get(1, 0) for dim in dims]
    if len(sizes) > _MAX_DIMS:
        raise ModelFormatError(f"{source} has a shape of {len(sizes)} dimensions.", field=source)
    return tuple(size for size in sizes if isinstance(size, int))
