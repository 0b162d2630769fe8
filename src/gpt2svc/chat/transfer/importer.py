"""Conversations into the store: each by itself, all of it or nothing, and never over one that is there."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final, Literal

from gpt2svc.chat.transfer.checked import CheckedConversation, check_conversation, hash_of
from gpt2svc.chat.transfer.json_form import read_json
from gpt2svc.chat.transfer.text_form import read_text
from gpt2svc.errors import InvalidInputError, NotFoundError, OverloadedError
from gpt2svc.persistence.database import Database
from gpt2svc.persistence.records import ConversationRecord, MessageRecord
from gpt2svc.persistence.unit_of_work import UnitOfWork

MAX_CONVERSATIONS: Final = 10_000  # of a file
ImportStatus = Literal["imported", "duplicate", "invalid"]

_BATCH: Final = 50
_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class ImportedConversation:
    """What became of one: `conversation_id` is that of the new one, or of the one that is there already."""

    index: int  # in the file
    title: str | None
    num_messages: int
    status: ImportStatus
    conversation_id: str | None = None  # None for an invalid one, and for a new one of a dry run
    reason: str | None = None  # of an invalid one


class ConversationImport:
    """One file at a time: it can be large, and the whole of it is in memory while it is read."""

    def __init__(self, database: Database, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._database = database
        self._clock = clock
        self._is_busy = False

    async def run(self, owner: str, body: bytes, *, dry_run: bool = False) -> list[ImportedConversation]:
        """Import every conversation of a JSON or text export; with `dry_run`, only say what would happen.

        Raises InvalidInputError where the file as a whole can't be read, with nothing imported; OverloadedError while
        another import is running; StorageError, after which what was reported before is kept.
        """
        if self._is_busy:
            raise OverloadedError("Another import is running.", retry_after_s=5.0)
        self._is_busy = True
        try:
            text = await asyncio.to_thread(_decoded, body)
            await asyncio.to_thread(_check_file, text)
            known = await self._known_hashes(owner)
            results: list[ImportedConversation] = []
            conversations = _read(text)
            while batch := await asyncio.to_thread(_next_batch, conversations):
                for found in batch:
                    results.append(await self._import(owner, len(results), found, known, dry_run=dry_run))
            return results
        finally:
            self._is_busy = False

    async def _import(
        self,
        owner: str,
        index: int,
        found: CheckedConversation | InvalidInputError,
        known: dict[bytes, str | None],
        *,
        dry_run: bool,
    ) -> ImportedConversation:
        if isinstance(found, InvalidInputError):
            return ImportedConversation(index, None, 0, "invalid", reason=found.message)
        num_messages = len(found.messages)
        content_hash = found.content_hash
        if num_messages and content_hash in known:
            return ImportedConversation(index, found.title, num_messages, "duplicate", known[content_hash])
        if found.id is not None and await self._holds(owner, found):
            return ImportedConversation(index, found.title, num_messages, "duplicate", found.id)
        new_id = None if dry_run else await self._database.write(lambda uow: self._insert(uow, owner, found))
        known[content_hash] = new_id
        return ImportedConversation(index, found.title, num_messages, "imported", new_id)

    async def _holds(self, owner: str, found: CheckedConversation) -> bool:
        """Whether the conversation of this id has all of these messages: it has only gone on since."""
        ids = {message.id for message in found.messages}
        async with self._database.read() as uow:
            try:
                await uow.conversations.get(found.id or "", owner)
            except NotFoundError:
                return False
            there: set[str] = set()
            cursor = None
            while True:
                page = await uow.messages.list(found.id or "", cursor=cursor, limit=_PAGE)
                there |= {message.id for message in page.items}
                cursor = page.next_cursor
                if cursor is None:
                    return None not in ids and ids <= there

    async def _insert(self, uow: UnitOfWork, owner: str, found: CheckedConversation) -> str:
        ids = self._database.ids
        message_ids = [message.id for message in found.messages if message.id is not None]
        is_free = found.id is not None and not await uow.archive.has_any(found.id, message_ids)
        conversation_id = found.id if is_free and found.id is not None else ids.new_conversation_id()
        new_ids = [
            message.id if is_free and message.id is not None else ids.new_message_id() for message in found.messages
        ]
        now = self._clock()
        created_at = found.created_at or now
        conversation = ConversationRecord(
            id=conversation_id,
            title=found.title,
            model=found.model,
            settings=found.settings,
            owner=owner,
            created_at=created_at,
            updated_at=max(found.updated_at or now, created_at),
        )
        messages = [
            MessageRecord(
                id=new_id,
                conversation_id=conversation_id,
                parent_id=None if message.parent is None else new_ids[message.parent],
                role=message.role,
                content=message.content,
                status=message.status,
                generation_id=None,
                settings=message.settings,
                model=message.model,
                model_revision=message.model_revision,
                usage=message.usage,
                finish_reason=message.finish_reason,
                error=message.error,
                created_at=message.created_at or created_at,
            )
            for new_id, message in zip(new_ids, found.messages, strict=True)
        ]
        await uow.archive.insert(conversation, messages)
        return conversation_id

    async def _known_hashes(self, owner: str) -> dict[bytes, str | None]:
        """What is there already, by content."""
        known: dict[bytes, str | None] = {}
        cursor = None
        while True:
            async with self._database.read() as uow:
                page = await uow.conversations.list(owner, cursor=cursor, limit=_PAGE)
            for conversation in page.items:
                known[await self._hash(conversation.id)] = conversation.id
            cursor = page.next_cursor
            if cursor is None:
                return known

    async def _hash(self, conversation_id: str) -> bytes:
        positions: dict[str, int] = {}
        messages: list[tuple[int | None, str, str]] = []
        cursor = None
        async with self._database.read() as uow:
            while True:
                page = await uow.messages.list(conversation_id, cursor=cursor, limit=_PAGE)
                for message in page.items:
                    parent = None if message.parent_id is None else positions[message.parent_id]
                    positions[message.id] = len(messages)
                    messages.append((parent, message.role, message.content))
                cursor = page.next_cursor
                if cursor is None:
                    return await asyncio.to_thread(hash_of, messages)


def _decoded(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"The file is not UTF-8 (byte {error.start}).", field="body") from None


def _read(text: str) -> Iterator[Any]:
    return read_json(text) if text.lstrip()[:1] == "{" else read_text(text)


def _check_file(text: str) -> None:
    """Once through all of it before anything is stored, so that a broken file changes nothing."""
    if sum(1 for _ in _read(text)) > MAX_CONVERSATIONS:
        raise InvalidInputError(f"A file may hold at most {MAX_CONVERSATIONS} conversations.", field="body")


def _next_batch(conversations: Iterator[Any]) -> list[CheckedConversation | InvalidInputError]:
    batch: list[CheckedConversation | InvalidInputError] = []
    for value in islice(conversations, _BATCH):
        try:
            batch.append(check_conversation(value))
        except InvalidInputError as error:
            batch.append(error)
    return batch
