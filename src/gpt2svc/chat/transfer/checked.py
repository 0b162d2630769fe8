"""A conversation from a file, checked field by field: nothing that a service could not have stored itself gets in."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, get_args

from gpt2svc.chat.text_input import MAX_CONTENT_LENGTH, check_text, check_title
from gpt2svc.errors import InvalidInputError
from gpt2svc.generation.settings import SamplingSettings
from gpt2svc.persistence.ids import is_id
from gpt2svc.persistence.records import ACTIVE_STATUSES, Role, Status

MAX_MESSAGES: Final = 10_000  # of a conversation
MAX_NAME_LENGTH: Final = 255
MAX_ERROR_LENGTH: Final = 2_000
FINISH_REASONS: Final = ("stop", "length", "abort", "error")
USAGE_FIELDS: Final = ("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens")

_CONVERSATION_FIELDS: Final = frozenset({"id", "title", "model", "settings", "created_at", "updated_at", "messages"})
_MESSAGE_FIELDS: Final = frozenset(
    {
        "id",
        "parent_id",
        "role",
        "content",
        "status",
        "settings",
        "model",
        "model_revision",
        "usage",
        "finish_reason",
        "error",
        "created_at",
    }
)


@dataclass(frozen=True, slots=True)
class CheckedMessage:
    id: str | None  # None where the file's is no id of ours
    parent: int | None  # position in the conversation's messages: always an earlier one
    role: Role
    content: str
    status: Status
    settings: Mapping[str, Any] | None
    model: str | None
    model_revision: str | None
    usage: Mapping[str, int] | None
    finish_reason: str | None
    error: str | None
    created_at: datetime | None


@dataclass(frozen=True, slots=True)
class CheckedConversation:
    id: str | None
    title: str | None
    model: str | None
    settings: Mapping[str, Any]
    created_at: datetime | None
    updated_at: datetime | None
    messages: tuple[CheckedMessage, ...]

    @property
    def content_hash(self) -> bytes:
        return hash_of([(message.parent, message.role, message.content) for message in self.messages])


def hash_of(messages: list[tuple[int | None, str, str]]) -> bytes:
    """What makes two conversations the same: who said what after what. (position of the parent, role, content) each."""
    return hashlib.sha256(json.dumps(messages).encode()).digest()


def check_conversation(value: Any) -> CheckedConversation:
    """Raises InvalidInputError that names the field."""
    fields = _object("The conversation", value, _CONVERSATION_FIELDS)
    messages = fields.get("messages")
    if not isinstance(messages, list):
        raise InvalidInputError("messages must be a list.", field="messages")
    if len(messages) > MAX_MESSAGES:
        raise InvalidInputError(f"messages must have at most {MAX_MESSAGES} entries.", field="messages")
    positions: dict[str, int] = {}
    checked = []
    for position, message in enumerate(messages):
        try:
            checked.append(_check_message(message, positions))
        except InvalidInputError as error:
            raise InvalidInputError(f"messages[{position}]: {error.message}", field="messages") from None
        if isinstance(message.get("id"), str):
            if message["id"] in positions:
                raise InvalidInputError(f"messages[{position}] has the id of another.", field="messages")
            positions[message["id"]] = position
    settings = _object("settings", fields.get("settings", {}), None)
    SamplingSettings.from_mapping(settings)
    title = _text(fields, "title", MAX_NAME_LENGTH)
    return CheckedConversation(
        id=_id(fields, "conversation"),
        title=check_title(title) if title is not None and title.strip() else None,
        model=_text(fields, "model", MAX_NAME_LENGTH),
        settings=settings,
        created_at=_time(fields, "created_at"),
        updated_at=_time(fields, "updated_at"),
        messages=tuple(checked),
    )


def _check_message(value: Any, positions: Mapping[str, int]) -> CheckedMessage:
    fields = _object("A message", value, _MESSAGE_FIELDS)
    role: Any = fields.get("role")
    if role not in get_args(Role):
        raise InvalidInputError("role must be user, assistant or system.", field="role")
    content = fields.get("content")
    if not isinstance(content, str):
        raise InvalidInputError("content must be a string.", field="content")
    check_text("content", content, MAX_CONTENT_LENGTH)
    status: Any = fields.get("status", "completed")
    if status not in get_args(Status):
        raise InvalidInputError("status is not one that a message can have.", field="status")
    if status in ACTIVE_STATUSES:
        status = "interrupted"
    if role != "assistant" and (status != "completed" or not content.strip()):
        raise InvalidInputError("content must not be blank, and only a reply can have failed.", field="content")
    parent_id = fields.get("parent_id")
    if parent_id is not None and (not isinstance(parent_id, str) or parent_id not in positions):
        raise InvalidInputError("parent_id names no earlier message of the conversation.", field="parent_id")
    finish_reason = fields.get("finish_reason")
    if finish_reason is not None and finish_reason not in FINISH_REASONS:
        raise InvalidInputError(f"finish_reason must be one of {', '.join(FINISH_REASONS)}.", field="finish_reason")
    settings = fields.get("settings")
    if settings is not None:
        settings = SamplingSettings.from_mapping(_object("settings", settings, None)).to_mapping()
    return CheckedMessage(
        id=_id(fields, "message"),
        parent=positions[parent_id] if parent_id is not None else None,
        role=role,
        content=content,
        status=status,
        settings=settings,
        model=_text(fields, "model", MAX_NAME_LENGTH),
        model_revision=_text(fields, "model_revision", MAX_NAME_LENGTH),
        usage=_usage(fields.get("usage")),
        finish_reason=finish_reason,
        error=_text(fields, "error", MAX_ERROR_LENGTH),
        created_at=_time(fields, "created_at"),
    )


def _object(name: str, value: Any, known: frozenset[str] | None) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidInputError(f"{name} must be an object.", field=name)
    unknown = value.keys() - known if known is not None else set()
    if unknown:
        raise InvalidInputError(f"{min(unknown)[:40]!r} is not a field of it.", field=min(unknown)[:40])
    return value


def _id(fields: Mapping[str, Any], kind: Any) -> str | None:
    value = fields.get("id")
    if value is not None and not isinstance(value, str):
        raise InvalidInputError("id must be a string.", field="id")
    return value if value is not None and is_id(kind, value) else None


def _text(fields: Mapping[str, Any], name: str, max_length: int) -> str | None:
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidInputError(f"{name} must be a string.", field=name)
    check_text(name, value, max_length)
    return value


def _time(fields: Mapping[str, Any], name: str) -> datetime | None:
    value = fields.get(name)
    if value is None:
        return None
    try:
        time = datetime.fromisoformat(value).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise InvalidInputError(f"{name} must be a time such as 2026-11-21T12:00:00+00:00.", field=name) from None
    if time.year < 1970:
        raise InvalidInputError(f"{name} must not be before 1970.", field=name)
    return min(time, datetime.now(UTC))  # a time to come would keep it on top of every list


def _usage(value: Any) -> Mapping[str, int] | None:
    if value is None:
        return None
    fields = _object("usage", value, frozenset(USAGE_FIELDS))
    if any(
        isinstance(count, bool) or not isinstance(count, int) or not 0 <= count < 2**31 for count in fields.values()
    ):
        raise InvalidInputError("usage must hold whole numbers.", field="usage")
    if not fields.keys() >= set(USAGE_FIELDS[:3]):
        raise InvalidInputError("usage must have prompt_tokens, completion_tokens and total_tokens.", field="usage")
    return fields
