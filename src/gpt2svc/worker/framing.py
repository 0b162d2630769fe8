"""Frames on a byte stream: four bytes of length (big-endian), then the payload."""

import struct
from collections.abc import Iterator

from gpt2svc.errors import EngineError

# The largest real frame is a step of 512 sequences with 20 log-probabilities each, about half a mebibyte.
MAX_FRAME_BYTES = 16 * 1024 * 1024

_LENGTH = struct.Struct(">I")


def frame(payload: bytes) -> bytes:
    """The payload with its length before it. Raises EngineError above MAX_FRAME_BYTES."""
    if len(payload) > MAX_FRAME_BYTES:
        raise EngineError(f"A frame of {len(payload):,} bytes is over the limit of {MAX_FRAME_BYTES:,}.")
    return _LENGTH.pack(len(payload)) + payload


class FrameReader:
    """Cuts a stream of chunks, which begin and end anywhere, into payloads."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Take in a chunk and yield each payload that is now complete. Raises EngineError for an oversized frame."""
        self._buffer += chunk
        start = 0
        try:
            while len(self._buffer) - start >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(self._buffer, start)
                if length > MAX_FRAME_BYTES:
                    raise EngineError(f"A frame of {length:,} bytes is over the limit of {MAX_FRAME_BYTES:,}.")
                end = start + _LENGTH.size + length
                if len(self._buffer) < end:
                    return
                payload = bytes(self._buffer[start + _LENGTH.size : end])
                start = end
                yield payload
        finally:
            del self._buffer[:start]
