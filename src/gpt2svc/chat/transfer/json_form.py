"""An export as JSON: every conversation with its whole tree, settings, seeds, models and times.

    {"format": "gpt2svc-conversations", "version": 1, "exported_at": "…", "conversations": [
    {"id": "conv_…", "title": "…", "model": null, "settings": {…}, "created_at": "…", "updated_at": "…", "messages": [
    {"id": "msg_…", "parent_id": null, "role": "user", "content": "…", …},
    …
    ]},
    …
    ]}

Written piece by piece, and read back one conversation at a time: a file is never one value in memory.
"""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

from gpt2svc.errors import InvalidInputError
from gpt2svc.persistence.records import ACTIVE_STATUSES, ConversationRecord, MessageRecord

FORMAT: Final = "gpt2svc-conversations"
VERSION: Final = 1

_SPACE: Final = re.compile(r"[ \t\r\n]*")


def file_start(now: datetime) -> str:
    head = json.dumps({"format": FORMAT, "version": VERSION, "exported_at": _time(now)})
    return f'{head[:-1]}, "conversations": [\n'


def conversation_start(conversation: ConversationRecord) -> str:
    head = {
        "id": conversation.id,
        "title": conversation.title,
        "model": conversation.model,
        "settings": dict(conversation.settings),
        "created_at": _time(conversation.created_at),
        "updated_at": _time(conversation.updated_at),
    }
    return f'{_dumps(head)[:-1]}, "messages": [\n'


def message_text(message: MessageRecord) -> str:
    value: dict[str, Any] = {
        "id": message.id,
        "parent_id": message.parent_id,
        "role": message.role,
        "content": message.content,
        # What is still being written goes no further in a file.
        "status": "interrupted" if message.status in ACTIVE_STATUSES else message.status,
        "created_at": _time(message.created_at),
    }
    for name in ("model", "model_revision", "finish_reason", "error"):
        if getattr(message, name) is not None:
            value[name] = getattr(message, name)
    for name in ("settings", "usage"):
        if getattr(message, name) is not None:
            value[name] = dict(getattr(message, name))
    return _dumps(value)


SEPARATOR: Final = ",\n"
CONVERSATION_END: Final = "\n]}"
FILE_END: Final = "\n]}\n"


def read_json(text: str) -> Iterator[Any]:
    """Each conversation of a file, parsed and not yet checked. Raises InvalidInputError where it is no such file."""
    reader = _Reader(text)
    header: dict[str, Any] = {}
    reader.expect("{")
    if not reader.take("}"):
        while True:
            name = reader.value()
            reader.expect(":")
            if name == "conversations":
                yield from reader.items()
                header[name] = True
            else:
                header[str(name)] = reader.value()
            if not reader.take(","):
                break
        reader.expect("}")
    reader.expect_end()
    if header.get("format") != FORMAT or "conversations" not in header:
        raise InvalidInputError("The file is JSON, but not an export of conversations.", field="body")
    if header.get("version") != VERSION or isinstance(header["version"], bool):
        raise InvalidInputError(
            f"The file has version {str(header.get('version'))[:20]}; this release reads version {VERSION}.",
            field="body",
        )


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._decoder = json.JSONDecoder(parse_constant=_refuse_constant)

    def value(self) -> Any:
        self._skip_space()
        try:
            value, self._position = self._decoder.raw_decode(self._text, self._position)
        except RecursionError:
            raise InvalidInputError("The file is nested too deep.", field="body") from None
        except ValueError as error:
            position = error.pos if isinstance(error, json.JSONDecodeError) else self._position
            line = self._text.count("\n", 0, position) + 1
            raise InvalidInputError(f"The file is not valid JSON (line {line}).", field="body") from None
        return value

    def items(self) -> Iterator[Any]:
        """Of an array, one after the other."""
        self.expect("[")
        if self.take("]"):
            return
        while True:
            yield self.value()
            if not self.take(","):
                break
        self.expect("]")

    def take(self, character: str) -> bool:
        self._skip_space()
        is_there = self._text.startswith(character, self._position)
        self._position += is_there
        return is_there

    def expect(self, character: str) -> None:
        if not self.take(character):
            line = self._text.count("\n", 0, self._position) + 1
            raise InvalidInputError(f"The file is not valid JSON: {character} is missing in line {line}.", field="body")

    def expect_end(self) -> None:
        self._skip_space()
        if self._position < len(self._text):
            raise InvalidInputError("The file goes on after its end.", field="body")

    def _skip_space(self) -> None:
        found = _SPACE.match(self._text, self._position)
        self._position = found.end() if found is not None else self._position


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON.")


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _time(value: datetime) -> str:
    return value.astimezone(UTC).isoformat()
