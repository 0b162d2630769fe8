"""Table: the sorted key-value file that TensorFlow took from LevelDB; the `.index` of a checkpoint is one.

    data blocks … | metaindex block | index block | footer: handles of the two, padding, magic number (48 bytes)

A block is entries, restart points and their number, then one byte for the compression and a masked CRC-32C. An entry
names only how much of its key differs from the key before. A handle is (offset, size), each a varint.
"""

from collections.abc import Iterator
from typing import Final

from gpt2svc.convert.crc32c import masked_crc32c
from gpt2svc.convert.wire import WireReader
from gpt2svc.errors import ModelFormatError

_FOOTER_BYTES: Final = 48
_MAGIC: Final = (0xDB4775248B80FB57).to_bytes(8, "little")
_TRAILER_BYTES: Final = 5
_MAX_KEY_BYTES: Final = 4096


def read_table(content: bytes, *, source: str) -> Iterator[tuple[bytes, bytes]]:
    """The entries of a whole table in the order of the file; `source` names it in errors.

    Raises ModelFormatError for what is no table, damaged (every block's checksum is verified) or compressed.
    """
    footer = content[-_FOOTER_BYTES:]
    if len(footer) < _FOOTER_BYTES or not footer.endswith(_MAGIC):
        raise ModelFormatError(
            f"{source} is not the index of a TensorFlow checkpoint, or it is truncated.", field=source
        )
    handles = WireReader(footer, source)
    handles.varint()
    handles.varint()  # the metaindex, which checkpoints leave empty
    for _, handle in _entries(_block(content, handles, source), source):
        yield from _entries(_block(content, WireReader(handle, source), source), source)


def _block(content: bytes, handle: WireReader, source: str) -> bytes:
    offset, size = handle.varint(), handle.varint()
    end = offset + size
    if end + _TRAILER_BYTES > len(content) - _FOOTER_BYTES:
        raise handle.error("has a block that passes its end")
    if masked_crc32c(content[offset : end + 1]) != int.from_bytes(content[end + 1 : end + _TRAILER_BYTES], "little"):
        raise handle.error("fails its checksum")
    if content[end] != 0:
        raise ModelFormatError(
            f"{source} is compressed, which TensorFlow's checkpoints are not: save it again without.", field=source
        )
    return content[offset:end]


def _entries(block: bytes, source: str) -> Iterator[tuple[bytes, bytes]]:
    num_restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 - 4 * num_restarts
    reader = WireReader(block[: max(end, 0)], source)
    if end < 0:
        raise reader.error("has a block without entries")
    key = b""
    while not reader.is_at_end:
        num_shared, num_own, num_value = reader.varint(), reader.varint(), reader.varint()
        if num_shared > len(key) or num_shared + num_own > _MAX_KEY_BYTES:
            raise reader.error("has a broken key")
        key = key[:num_shared] + reader.take(num_own)
        yield key, reader.take(num_value)
