"""A small writer of TensorFlow's checkpoint format, from its description: for fixtures, right or wrong at will."""

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

MAGIC = 0xDB4775248B80FB57


def crc32c(content: bytes) -> int:
    """Bit by bit, as the polynomial says."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(crc: int) -> int:
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def length_delimited(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def number_field(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value) if value else b""


def header(num_shards: int = 1, endianness: int = 0) -> bytes:
    return number_field(1, num_shards) + number_field(2, endianness) + length_delimited(3, number_field(1, 1))


def entry(shape: tuple[int, ...], offset: int, size: int, crc: int, *, dtype: int = 1, shard: int = 0) -> bytes:
    dims = b"".join(length_delimited(2, number_field(1, size)) for size in shape)
    return (
        number_field(1, dtype)
        + length_delimited(2, dims)
        + number_field(3, shard)
        + number_field(4, offset)
        + number_field(5, size)
        + varint(6 << 3 | 5)
        + struct.pack("<I", crc)
    )


def block(entries: Mapping[bytes, bytes], *, compression: int = 0, is_prefixed: bool = True) -> bytes:
    out = bytearray()
    before = b""
    for key, value in sorted(entries.items()):
        shared = 0
        while is_prefixed and shared < min(len(before), len(key)) and before[shared] == key[shared]:
            shared += 1
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    out += struct.pack("<II", 0, 1)  # one restart point, at the beginning
    out.append(compression)
    return bytes(out) + struct.pack("<I", masked(crc32c(bytes(out))))


def table(entries: Mapping[bytes, bytes], *, entries_per_block: int = 7, compression: int = 0) -> bytes:
    out = bytearray()
    index: dict[bytes, bytes] = {}
    keys = sorted(entries)
    for first in range(0, len(keys), entries_per_block):
        part = {key: entries[key] for key in keys[first : first + entries_per_block]}
        content = block(part, compression=compression)
        index[max(part)] = varint(len(out)) + varint(len(content) - 5)
        out += content
    handles = b""
    for content in (block({}), block(index, is_prefixed=False)):
        handles += varint(len(out)) + varint(len(content) - 5)
        out += content
    return bytes(out) + handles.ljust(40, b"\0") + struct.pack("<Q", MAGIC)


def write_bundle(prefix: Path, variables: Mapping[str, np.ndarray]) -> Path:
    """`<prefix>.index` and `<prefix>.data-00000-of-00001`."""
    entries = {b"": header()}
    data = bytearray()
    for name, array in sorted(variables.items()):
        content = array.astype("<f4").tobytes()
        entries[name.encode()] = entry(array.shape, len(data), len(content), masked(crc32c(content)))
        data += content
    prefix.with_name(prefix.name + ".index").write_bytes(table(entries))
    prefix.with_name(prefix.name + ".data-00000-of-00001").write_bytes(data)
    return prefix
