"""What a turn is asked to be: a new message, another reply, or the rest of one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gpt2svc.persistence.idempotency_keys import hash_of_request
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
class ReplyCut:
    """A place in a reply and what follows there: so many of its own tokens (None: all), then this one (None: none)."""

    num_reply_tokens: int | None
    next_token_id: int | None


@dataclass(frozen=True, slots=True)
class Continuation:
    """The same reply once more, and on from where it ended, or from an earlier place."""

    message_id: str
    cut: ReplyCut | None = None


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
        return hash_of_request([self.conversation_id, *_words(self.subject), dict(self.settings)])


def _words(subject: Subject) -> list[Any]:
    if isinstance(subject, NewMessage):
        parent_id = subject.parent_id
        return ["message", subject.content, *(["newest"] if isinstance(parent_id, Unset) else ["after", parent_id])]
    words = [type(subject).__name__.lower(), subject.message_id]
    if isinstance(subject, Continuation) and subject.cut is not None:
        return [*words, subject.cut.num_reply_tokens, subject.cut.next_token_id]
    return words
