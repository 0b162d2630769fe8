"""Messages in the store: each conversation holds a tree of them, in creation order."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from gpt2svc.persistence.ids import IdGenerator
from gpt2svc.persistence.records import MessageRecord, Page, Role, Status


class MessageRepository:
    """Owners are checked on the conversation: get that first."""

    def __init__(self, connection: AsyncConnection, clock: Callable[[], datetime], ids: IdGenerator) -> None:
        self._connection = connection
        self._clock = clock
        self._ids = ids

    async def create(
        self,
        *,
        conversation_id: str,
        role: Role,
        content: str,
        parent_id: str | None = None,
        status: Status = "completed",
        message_id: str | None = None,
        generation_id: str | None = None,
        settings: Mapping[str, Any] | None = None,
        model: str | None = None,
        model_revision: str | None = None,
    ) -> MessageRecord:
        """Add a message after `parent_id` (None: a root); counts it in the conversation and touches that.

        `message_id` is made here when it is not given. Raises NotFoundError (conversation; message, when the parent is
        not in this conversation) and InvalidInputError (NUL or a lone surrogate in a text).
        """
        raise NotImplementedError

    async def get(self, message_id: str, conversation_id: str) -> MessageRecord:
        """Raises NotFoundError, also when the message is in another conversation."""
        raise NotImplementedError

    async def list(self, conversation_id: str, *, cursor: str | None = None, limit: int = 50) -> Page[MessageRecord]:
        """Every message of the conversation, all branches, oldest first; InvalidInputError as in conversations."""
        raise NotImplementedError

    async def path_to(self, message_id: str) -> tuple[MessageRecord, ...]:
        """From the root to the message itself, along `parent_id`: the history that a prompt renders.

        Raises NotFoundError.
        """
        raise NotImplementedError

    async def last(self, conversation_id: str) -> MessageRecord | None:
        """The newest message, which the next one follows unless told otherwise; None in an empty conversation."""
        raise NotImplementedError

    async def set_result(
        self,
        message_id: str,
        *,
        status: Status,
        content: str,
        finish_reason: str | None = None,
        usage: Mapping[str, int] | None = None,
        error: str | None = None,
    ) -> MessageRecord:
        """Write what became of an assistant's message. `generations.finish` does this. Raises NotFoundError."""
        raise NotImplementedError
