"""Server-sent events as the specification reads them, written apart from the code under test."""

import json
import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class SseEvent:
    name: str
    data: dict[str, Any]
    id: str | None


def parse_events(body: bytes) -> list[SseEvent]:
    """All complete events of a whole response body."""
    events = []
    blocks = re.split(r"\r\n\r\n|\n\n", body.decode("utf-8"))
    for block in blocks[:-1]:
        fields = [line.split(":", 1) for line in re.split(r"\r\n|\n", block) if line and not line.startswith(":")]
        values = {name: [v.removeprefix(" ") for n, v in fields if n == name] for name in ("event", "data", "id")}
        if values["data"]:
            data = json.loads("\n".join(values["data"]))
            events.append(SseEvent((values["event"] or ["message"])[-1], data, (values["id"] or [None])[-1]))
    return events


def text_of(events: list[SseEvent]) -> str:
    """The reply that a stream carried."""
    return "".join(event.data["text"] for event in events if event.name == "token")
