"""What a turn is asked to be: a new message, another reply, or the rest of one."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gpt2svc.persistence.unset import Unset


@dataclass(frozen=True, slots=True)
class NewMessage:
    """`parent_id` is the message that it follows: None for the beginning of the conversation, unset for the newest."""

    content: str
    parent_id: str | Unset | None


@dataclass(frozen=True, slots=True)
class Regeneration:
    """Another reply to a user's message, which `message_id` names, itself or by one of its replies."""

    message_id: str


@dataclass(frozen=True, slots=True)
class Continuation:
    """The same reply once more, and on from where it ended."""

    message_id: str


Subject = NewMessage | Regeneration | Continuation


@dataclass(frozen=True, slots=True)
class TurnRequest:
    conversation_id: str
    owner: str
    subject: Subject
    settings: Mapping[str, Any]
    idempotency_key: str | None

    @property
    def body_hash(self) -> str:
        """The same for the same request only."""
        body = [self.conversation_id, *_words(self.subject), dict(self.settings)]
        return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _words(subject: Subject) -> list[str | None]:
    if isinstance(subject, NewMessage):
        parent_id = subject.parent_id
        return ["message", subject.content, *(["newest"] if isinstance(parent_id, Unset) else ["after", parent_id])]
    return [type(subject).__name__.lower(), subject.message_id]
