"""Conversations out of the store, as a stream of text that is never whole in memory."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Final, Literal

from gpt2svc.chat.transfer import json_form, text_form
from gpt2svc.errors import NotFoundError
from gpt2svc.persistence.database import Database
from gpt2svc.persistence.records import ConversationRecord, MessageRecord

ExportFormat = Literal["json", "txt"]

_PAGE: Final = 200
_LIST_PAGE: Final = 1000


class ConversationExport:
    """Each conversation is read as it stands when its turn comes; one that is deleted meanwhile is left out."""

    def __init__(self, database: Database, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._database = database
        self._clock = clock

    async def prepare(self, owner: str, conversation_id: str | None = None) -> list[str]:
        """The ids of what will be exported, the latest active one first. Raises NotFoundError for a given one."""
        async with self._database.read() as uow:
            if conversation_id is not None:
                return [(await uow.conversations.get(conversation_id, owner)).id]
            ids: list[str] = []
            cursor = None
            while True:
                page = await uow.conversations.list(owner, cursor=cursor, limit=_LIST_PAGE)
                ids += [conversation.id for conversation in page.items]
                cursor = page.next_cursor
                if cursor is None:
                    return ids

    async def chunks(self, owner: str, ids: list[str], export_format: ExportFormat) -> AsyncIterator[str]:
        """The file, piece by piece. Raises StorageError."""
        if export_format == "txt":
            yield text_form.FILE_START
            for conversation_id in ids:
                conversation = await self._conversation(conversation_id, owner)
                if conversation is not None:
                    yield text_form.render_text(conversation.title, await self._newest_path(conversation_id))
            return
        yield json_form.file_start(self._clock())
        is_first = True
        for conversation_id in ids:
            conversation = await self._conversation(conversation_id, owner)
            if conversation is None:
                continue
            separator = "" if is_first else json_form.SEPARATOR
            yield separator + json_form.conversation_start(conversation)
            is_first = False
            has_messages = False
            async for messages in self._pages(conversation_id):
                yield (json_form.SEPARATOR if has_messages else "") + json_form.SEPARATOR.join(
                    json_form.message_text(message) for message in messages
                )
                has_messages = True
            yield json_form.CONVERSATION_END
        yield json_form.FILE_END

    async def _conversation(self, conversation_id: str, owner: str) -> ConversationRecord | None:
        async with self._database.read() as uow:
            try:
                return await uow.conversations.get(conversation_id, owner)
            except NotFoundError:
                return None

    async def _pages(self, conversation_id: str) -> AsyncIterator[tuple[MessageRecord, ...]]:
        # Messages are only ever added, so pages of different moments fit together.
        cursor = None
        while True:
            async with self._database.read() as uow:
                page = await uow.messages.list(conversation_id, cursor=cursor, limit=_PAGE)
            if page.items:
                yield page.items
            cursor = page.next_cursor
            if cursor is None:
                return

    async def _newest_path(self, conversation_id: str) -> tuple[MessageRecord, ...]:
        async with self._database.read() as uow:
            newest = await uow.messages.last(conversation_id)
            return await uow.messages.path_to(newest.id) if newest is not None else ()
