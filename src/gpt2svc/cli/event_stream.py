"""A reader of server-sent events for the command line's own client."""

import codecs
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event: `data` is its JSON object, `id` None where the server gave none."""

    name: str
    data: dict[str, Any]
    id: str | None = None


def read_events(chunks: Iterable[bytes]) -> Iterator[ServerEvent]:
    """The events in a byte stream, however it is cut into chunks. Comments and unfinished events are left out.

    Raises ValueError when an event's data is no JSON object.
    """
    name, event_id, data = "message", None, list[str]()
    for line in _lines(chunks):
        if line == "":
            if data:
                yield ServerEvent(name, _object("\n".join(data)), event_id)
            name, event_id, data = "message", None, []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data.append(value)
        elif field == "id":
            event_id = value


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    # NOTE: str.splitlines also splits on U+2028, U+0085 and others that a model may well write.
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    rest = ""
    for chunk in chunks:
        *lines, rest = (rest + decoder.decode(chunk)).split("\n")
        for line in lines:
            yield line.removesuffix("\r")


def _object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if isinstance(value, dict):
        return value
    raise ValueError(f"event data is no JSON object: {text[:80]!r}")
