"""Conversations: create, read, list, change, delete."""

from collections.abc import Mapping
from typing import Any

from gpt2svc.persistence.records import ConversationRecord, MessageRecord, Page


class ConversationService:
    """Every method raises NotFoundError for a conversation that isn't there or is another owner's."""

    async def create(
        self,
        owner: str,
        *,
        title: str | None = None,
        model: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> ConversationRecord:
        """`settings` may be partial. Raises InvalidInputError (title, settings) and NotFoundError (model)."""
        raise NotImplementedError

    async def get(self, conversation_id: str, owner: str) -> ConversationRecord:
        raise NotImplementedError

    async def list(
        self, owner: str, *, limit: int = 20, cursor: str | None = None, query: str | None = None
    ) -> Page[ConversationRecord]:
        """Newest first; `query` searches titles and messages. Raises InvalidInputError for a bad cursor."""
        raise NotImplementedError

    async def update(self, conversation_id: str, owner: str, changes: Mapping[str, Any]) -> ConversationRecord:
        """`changes` may hold `title`, `model` and `settings`; what is not in it stays; None puts the default back.

        `settings` are merged key by key, None puts one setting's default back.
        """
        raise NotImplementedError

    async def delete(self, conversation_id: str, owner: str) -> None:
        """With its messages and generations; a reply in progress is cancelled first."""
        raise NotImplementedError

    async def messages(
        self, conversation_id: str, owner: str, *, limit: int = 100, cursor: str | None = None
    ) -> Page[MessageRecord]:
        """Oldest first."""
        raise NotImplementedError

    async def message(self, message_id: str, owner: str) -> MessageRecord:
        raise NotImplementedError
