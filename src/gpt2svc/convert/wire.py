"""Wire: reading protocol buffers' encoding, without their library or schemas. Every length is checked."""

from collections.abc import Iterator

from gpt2svc.errors import ModelFormatError


class WireReader:
    """A position in bytes that moves on with each value; raises ModelFormatError where a value passes the end."""

    def __init__(self, content: bytes, source: str) -> None:
        self._content = content
        self._source = source
        self._position = 0

    @property
    def is_at_end(self) -> bool:
        return self._position == len(self._content)

    def varint(self) -> int:
        """An unsigned number of up to 64 bits, seven of them a byte, the lowest first."""
        value = shift = 0
        while shift < 70:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >= 1 << 64:
                    break
                return value
            shift += 7
        raise self.error("has a number of more than 64 bits")

    def take(self, count: int) -> bytes:
        end = self._position + count
        if end > len(self._content):
            raise self.error("ends too early")
        taken = self._content[self._position : end]
        self._position = end
        return taken

    def error(self, problem: str) -> ModelFormatError:
        return ModelFormatError(f"{self._source} is damaged: it {problem}.", field=self._source)


def fields(content: bytes, source: str) -> Iterator[tuple[int, int | bytes]]:
    """The fields of one message, (number, value): whole numbers as such, everything else as its bytes."""
    reader = WireReader(content, source)
    while not reader.is_at_end:
        tag = reader.varint()
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            yield number, reader.varint()
        elif kind == 1:
            yield number, int.from_bytes(reader.take(8), "little")
        elif kind == 2:
            yield number, reader.take(reader.varint())
        elif kind == 5:
            yield number, int.from_bytes(reader.take(4), "little")
        else:
            raise reader.error(f"has a field of the unknown kind {kind}")
