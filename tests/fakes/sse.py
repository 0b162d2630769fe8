"""Server-sent events as the specification reads them: lines end in \\n or \\r\\n, and in nothing else."""

import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True)
class SseEvent:
    name: str
    data: dict[str, Any]
    id: str | None = None


@dataclass(frozen=True)
class SseComment:
    text: str


def parse_sse(body: bytes) -> list[SseEvent]:
    """The events of a whole body, which must end in a complete one."""
    blocks = _blocks(body)
    assert blocks.pop() == "", "the stream ends in the middle of an event"
    return [event for block in blocks if isinstance(event := _parse(block), SseEvent)]


async def read_sse(response: httpx.Response) -> AsyncIterator[SseEvent | SseComment]:
    """Events and comments as they arrive."""
    buffer = b""
    async for chunk in response.aiter_raw():
        buffer += chunk
        *complete, rest = _blocks(buffer)
        buffer = rest.encode("utf-8", "surrogateescape")
        for block in complete:
            yield _parse(block)


def reply_text(events: list[SseEvent]) -> str:
    return "".join(event.data["text"] for event in events if event.name == "token")


def _blocks(body: bytes) -> list[str]:
    # NOTE: a chunk may end inside a character: what can't be decoded yet stays in the rest.
    return re.split(r"\r\n\r\n|\n\n", body.decode("utf-8", "surrogateescape"))


def _parse(block: str) -> SseEvent | SseComment:
    fields: dict[str, list[str]] = {}
    for line in re.split(r"\r\n|\n", block):
        name, _, value = line.partition(":")
        fields.setdefault(name, []).append(value.removeprefix(" "))
    if "data" not in fields:
        return SseComment("\n".join(fields.get("", [])))
    return SseEvent(
        name=fields.get("event", ["message"])[-1],
        data=json.loads("\n".join(fields["data"])),
        id=fields["id"][-1] if "id" in fields else None,
    )
