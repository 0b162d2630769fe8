"""An export as text, for people and for editors: titles, roles and what was said.

    # gpt2svc conversations 1

    === Trains to Lviv
    --- User
    When does the first train leave?

    --- Assistant
    At six.

A message's line that begins with ===, --- or a backslash has a backslash before it in the file. Each message ends with
one empty line. Text holds one path of each conversation, that to its newest message, and neither settings nor times.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

from gpt2svc.errors import InvalidInputError
from gpt2svc.persistence.records import MessageRecord, Role

FIRST_LINE: Final = "# gpt2svc conversations 1"
FILE_START: Final = FIRST_LINE + "\n\n"

_CONVERSATION: Final = "==="
_MESSAGE: Final = "---"
_ROLES: Final[dict[str, Role]] = {"User": "user", "Assistant": "assistant", "System": "system"}
_NAMES: Final = {role: name for name, role in _ROLES.items()}
_SPECIAL: Final = re.compile(r"^(?=={3}|-{3}|\\)", re.MULTILINE)


def render_text(title: str | None, path: Sequence[MessageRecord]) -> str:
    """A conversation; messages without text are left out."""
    lines = [f"{_CONVERSATION} {' '.join((title or '').split())}".rstrip()]
    for message in path:
        if message.content.strip():
            lines += [f"{_MESSAGE} {_NAMES[message.role]}", _escaped(message.content), ""]
    return "\n".join(lines) + "\n"


def read_text(text: str) -> Iterator[Any]:
    """Each conversation in the form that JSON has it. Raises InvalidInputError where it is no such file."""
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    if lines[0].strip() != FIRST_LINE:
        raise InvalidInputError(
            f"The file is neither JSON nor text of this service, which begins with the line {FIRST_LINE!r}.",
            field="body",
        )
    starts = [index for index, line in enumerate(lines) if line.startswith(_CONVERSATION)]
    before = lines[1 : starts[0]] if starts else lines[1:]
    if any(line.strip() for line in before):
        raise InvalidInputError("The file has text before its first conversation.", field="body")
    for start, end in pairwise([*starts, len(lines)]):
        yield _conversation(lines[start], lines[start + 1 : end])


def _conversation(head: str, lines: list[str]) -> dict[str, Any]:
    messages: list[dict[str, Any]] = []
    starts = [index for index, line in enumerate(lines) if line.startswith(_MESSAGE)]
    before = lines[: starts[0]] if starts else lines
    if any(line.strip() for line in before):
        messages.append({"role": None, "content": ""})  # refused as a message without a role
    for start, end in pairwise([*starts, len(lines)]):
        name = lines[start].removeprefix(_MESSAGE).strip()
        body = lines[start + 1 : end]
        if body and not body[-1]:
            body.pop()
        content = "\n".join(line.removeprefix("\\") if line.startswith("\\") else line for line in body)
        index = len(messages)
        messages.append(
            {
                "id": str(index),
                "parent_id": str(index - 1) if index else None,
                "role": _ROLES.get(name, name or None),
                "content": content,
            }
        )
    return {"title": head.removeprefix(_CONVERSATION).strip() or None, "messages": messages}


def _escaped(content: str) -> str:
    return _SPECIAL.sub(r"\\", content)
