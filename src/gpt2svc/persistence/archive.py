"""Whole conversations in the store, put in as they were elsewhere."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import insert, select

from gpt2svc.persistence.connection import Connection
from gpt2svc.persistence.records import ConversationRecord, MessageRecord
from gpt2svc.persistence.stored_text import check_json, check_text, fold
from gpt2svc.persistence.tables import ConversationRow, MessageRow

_ROWS_AT_ONCE: Final = 200
_IDS_AT_ONCE: Final = 500  # SQLite takes a limited number of bound values in a statement


class ArchiveRepository:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def has_any(self, conversation_id: str, message_ids: Sequence[str]) -> bool:
        """Whether one of these ids is in use, by anybody."""
        statement = select(ConversationRow.id).where(ConversationRow.id == conversation_id)
        if (await self._connection.execute(statement)).first() is not None:
            return True
        for start in range(0, len(message_ids), _IDS_AT_ONCE):
            some = message_ids[start : start + _IDS_AT_ONCE]
            statement = select(MessageRow.id).where(MessageRow.id.in_(some)).limit(1)
            if (await self._connection.execute(statement)).first() is not None:
                return True
        return False

    async def insert(self, conversation: ConversationRecord, messages: Sequence[MessageRecord]) -> None:
        """Put in a conversation with its messages, parents first, under ids that are free.

        Raises InvalidInputError (NUL or a lone surrogate in a text).
        """
        check_text("title", conversation.title)
        check_text("model", conversation.model)
        check_json("settings", conversation.settings)
        await self._connection.execute(
            insert(ConversationRow).values(
                id=conversation.id,
                owner=conversation.owner,
                title=conversation.title,
                title_folded=None if conversation.title is None else fold(conversation.title),
                model=conversation.model,
                settings=dict(conversation.settings),
                num_messages=len(messages),
                created_at=conversation.created_at,
                updated_at=conversation.updated_at,
            )
        )
        rows = [_row(message, position) for position, message in enumerate(messages, start=1)]
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            await self._connection.execute(insert(MessageRow).values(rows[start : start + _ROWS_AT_ONCE]))


def _row(message: MessageRecord, position: int) -> dict[str, Any]:
    for name in ("content", "model", "model_revision", "error"):
        check_text(name, getattr(message, name))
    check_json("settings", message.settings)
    return {
        "id": message.id,
        "conversation_id": message.conversation_id,
        "position": position,
        "parent_id": message.parent_id,
        "role": message.role,
        "content": message.content,
        "content_folded": fold(message.content),
        "status": message.status,
        "generation_id": message.generation_id,
        "settings": None if message.settings is None else dict(message.settings),
        "model": message.model,
        "model_revision": message.model_revision,
        "usage": None if message.usage is None else dict(message.usage),
        "finish_reason": message.finish_reason,
        "error": message.error,
        "created_at": message.created_at,
    }
