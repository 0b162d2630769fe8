"""One row of training data: what is accepted, and the document that it becomes.

{"text": …}                                       running text; "label" makes it an example of a class
{"messages": [{"role", "content", "weight"?}, …]} a conversation; weight 0 leaves a message unlearned
{"conversations": [{"from", "value"}, …]}         the same, ShareGPT's way
{"instruction", "input"?, "output"}               Alpaca: a conversation of one turn
{"prompt", "completion"}                          plain text that goes on with other plain text
{"sequence" | "tokens" | "input_ids": […]}        token ids or spellings, with or without "label"
{"prompt", "choices": […], "label"}               which choice (counted from 0) goes on best
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gpt2svc.training.transcript import ROLE_LABELS, TURN_SEPARATOR

SEQUENCE_KEYS: Final = ("sequence", "tokens", "input_ids")
_SHAREGPT_ROLES: Final = {
    "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "model": "assistant",
    "bot": "assistant", "system": "system",
}  # fmt: skip
_LINE_BREAK = re.compile(r"\r\n?")
# As in a prompt: "\nUser:" stands only where a turn begins, so that nothing in a message teaches a false end of turn.
_LABEL_AT_LINE_START = re.compile(r"(?<=\n)(?=" + "|".join(map(re.escape, ROLE_LABELS.values())) + ")")


class BadRowError(Exception):
    """Why a row can't be used."""


@dataclass(frozen=True)
class Segment:
    """Text that is encoded by itself. `is_reply` and `weight` say whether it is learned or only read."""

    text: str
    is_reply: bool = False
    weight: int = 1


@dataclass(frozen=True)
class Document:
    """Either `segments` of text or `tokens` (ids, or spellings of a vocabulary). Conversations can be joined."""

    segments: tuple[Segment, ...] = ()
    tokens: tuple[int | str, ...] = ()
    label: int | str | None = None
    choices: tuple[str, ...] = ()
    is_conversation: bool = False
    opening: str = ""  # what duplicates are counted by

    @property
    def text(self) -> str:
        return "".join(segment.text for segment in self.segments)


def parse_row(row: Any) -> Document:
    """Raises BadRowError with the reason."""
    if not isinstance(row, dict):
        raise BadRowError(f"an object is needed, not {type(row).__name__}")
    label = _label(row)
    for key in SEQUENCE_KEYS:
        if key in row:
            return Document(tokens=_tokens(row, key), label=label)
    if "choices" in row:
        return _choices(row, label)
    if "messages" in row:
        return _conversation(_messages(row["messages"]), label)
    if "conversations" in row:
        return _conversation(_sharegpt(row["conversations"]), label)
    if "instruction" in row:
        return _conversation(_alpaca(row), label)
    if "prompt" in row or "completion" in row:
        prompt, completion = _string(row, "prompt"), _string(row, "completion")
        return Document((Segment(prompt), Segment(completion, is_reply=True)), label=label, opening=prompt)
    if "text" in row:
        text = _string(row, "text")
        return Document((Segment(text, is_reply=True),), label=label, opening=text)
    raise BadRowError(
        'none of "text", "messages", "conversations", "instruction", "prompt", "choices" and "sequence" is there'
    )


def _label(row: Mapping[str, Any]) -> int | str | None:
    label = row.get("label")
    if label is None:
        return None
    if isinstance(label, bool) or not isinstance(label, int | str) or label == "":
        raise BadRowError(f'"label" must be a whole number from 0 on or a name, not {label!r:.40}')
    if isinstance(label, int) and label < 0:
        raise BadRowError(f'"label" must be at least 0, not {label}')
    return label


def _tokens(row: Mapping[str, Any], key: str) -> tuple[int | str, ...]:
    tokens = row[key]
    if not isinstance(tokens, list) or not tokens:
        raise BadRowError(f'"{key}" must be a list that is not empty')
    for place, token in enumerate(tokens):
        if isinstance(token, bool) or not isinstance(token, int | str):
            raise BadRowError(f"{key}[{place}] must be a token id or a token, not {token!r:.40}")
        if isinstance(token, int) and token < 0:
            raise BadRowError(f"{key}[{place}] must be at least 0, not {token}")
    return tuple(tokens)


def _choices(row: Mapping[str, Any], label: int | str | None) -> Document:
    choices = row["choices"]
    if not isinstance(choices, list) or len(choices) < 2:
        raise BadRowError('"choices" must be a list of at least two texts')
    for place, choice in enumerate(choices):
        if not isinstance(choice, str) or not choice.strip():
            raise BadRowError(f"choices[{place}] must be a string that is not blank")
        _check_encodable(choice)
    if not isinstance(label, int) or label >= len(choices):
        raise BadRowError(f'"label" must be the number of the right choice, from 0 to {len(choices) - 1}')
    prompt = _string(row, "prompt")
    return Document((Segment(prompt),), label=label, choices=tuple(choices), opening=prompt)


def _objects(name: str, values: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each of a list of objects, with its place for errors."""
    if not isinstance(values, list) or not values:
        raise BadRowError(f'"{name}" must be a list that is not empty')
    for index, value in enumerate(values):
        if not isinstance(value, dict):
            raise BadRowError(f"{name}[{index}] must be an object")
        yield f"{name}[{index}]", value


def _messages(messages: Any) -> list[tuple[str, str, int]]:
    """(role, content, weight) of each."""
    turns = []
    for place, message in _objects("messages", messages):
        role, content, weight = message.get("role"), message.get("content"), message.get("weight", 1)
        if role not in ("system", "user", "assistant"):
            raise BadRowError(f'{place}.role must be "system", "user" or "assistant", not {role!r:.40}')
        if not isinstance(content, str):
            raise BadRowError(f"{place}.content must be a string")
        if isinstance(weight, bool) or weight not in (0, 1):
            raise BadRowError(f"{place}.weight must be 0 or 1, not {weight!r:.40}")
        turns.append((role, content, int(weight)))
    return turns


def _sharegpt(messages: Any) -> list[tuple[str, str, int]]:
    turns = []
    for place, message in _objects("conversations", messages):
        speaker, value = message.get("from"), message.get("value")
        if not isinstance(speaker, str) or speaker not in _SHAREGPT_ROLES:
            raise BadRowError(f"{place}.from must be one of {', '.join(_SHAREGPT_ROLES)}, not {speaker!r:.40}")
        if not isinstance(value, str):
            raise BadRowError(f"{place}.value must be a string")
        turns.append((_SHAREGPT_ROLES[speaker], value, 1))
    return turns


def _alpaca(row: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    question = _string(row, "instruction")
    given = row.get("input")
    if given is not None and not isinstance(given, str):
        raise BadRowError('"input" must be a string')
    if given and given.strip():
        question = f"{question.strip()}\n{given}"
    return [("user", question, 1), ("assistant", _string(row, "output"), 1)]


def _conversation(turns: list[tuple[str, str, int]], label: int | str | None) -> Document:
    """The transcript in pieces that can be learned apart: a reply ends with the next turn's label, which is learned
    too, since the service stops there."""
    preamble = [content for role, content, _ in turns if role == "system" and content.strip()]
    spoken = [turn for turn in turns if turn[0] != "system"]
    # A document ends with a reply: what follows the last one would teach the model to end after a question.
    while spoken and spoken[-1][0] == "user":
        spoken.pop()
    if not spoken:
        raise BadRowError("no assistant's message is there to learn from")
    segments = [Segment(_safe(text) + TURN_SEPARATOR) for text in preamble]
    for index, (role, content, weight) in enumerate(spoken):
        if index == 0:
            segments.append(Segment(ROLE_LABELS[role]))
        segments.append(Segment(f" {_safe(content)}", is_reply=role == "assistant", weight=weight))
        if index + 1 < len(spoken):
            end_of_turn = TURN_SEPARATOR + ROLE_LABELS[spoken[index + 1][0]]
            segments.append(Segment(end_of_turn, is_reply=role == "assistant", weight=weight))
    document = Document(tuple(segments), label=label, is_conversation=True, opening=spoken[0][1])
    _check_encodable(document.text)
    return document


def _safe(content: str) -> str:
    return _LABEL_AT_LINE_START.sub(" ", _LINE_BREAK.sub("\n", content.strip()))


def _string(row: Mapping[str, Any], key: str) -> str:
    text = row.get(key)
    if not isinstance(text, str) or not text.strip():
        raise BadRowError(f'"{key}" must be a string that is not blank')
    _check_encodable(text)
    return text


def _check_encodable(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadRowError(f"a lone surrogate at character {error.start + 1} of the text") from None
