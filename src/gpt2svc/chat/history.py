"""What a new message follows: its conversation, the path to the root, and what the last prompt left out."""

from dataclasses import dataclass
from datetime import UTC, datetime

from gpt2svc.errors import ConversationBusyError, NotFoundError
from gpt2svc.persistence.records import ConversationRecord, MessageRecord
from gpt2svc.persistence.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class History:
    """From one snapshot of the store. `newest_message_id` tells later whether the conversation has grown since."""

    conversation: ConversationRecord
    path: tuple[MessageRecord, ...]  # root first; the last is the new message, which is not stored yet
    newest_message_id: str | None
    dropped_before: frozenset[str]  # ids that the previous reply on this path did without

    @property
    def new_message(self) -> MessageRecord:
        return self.path[-1]


async def read_history(
    uow: UnitOfWork, conversation_id: str, owner: str, content: str, parent_id: str | None
) -> History:
    """The history of a message that would follow `parent_id` (None: the newest message).

    Raises NotFoundError (conversation; message, when the parent is not in it) and ConversationBusyError.
    """
    conversation = await uow.conversations.get(conversation_id, owner)
    active = await uow.generations.active(conversation_id)
    if active is not None:
        raise ConversationBusyError(conversation_id, active.id)
    newest = await uow.messages.last(conversation_id)
    parent = newest if parent_id is None else await uow.messages.get(parent_id, conversation_id)
    path = await uow.messages.path_to(parent.id) if parent is not None else ()
    dropped_before = await _dropped_before(uow, path, owner)
    message = MessageRecord(
        id="",  # has none yet
        conversation_id=conversation_id,
        parent_id=parent.id if parent is not None else None,
        role="user",
        content=content,
        status="completed",
        generation_id=None,
        settings=None,
        model=None,
        model_revision=None,
        usage=None,
        finish_reason=None,
        error=None,
        created_at=datetime.now(UTC),
    )
    return History(conversation, (*path, message), newest.id if newest is not None else None, dropped_before)


async def _dropped_before(uow: UnitOfWork, path: tuple[MessageRecord, ...], owner: str) -> frozenset[str]:
    generation_id = next((message.generation_id for message in reversed(path) if message.generation_id), None)
    if generation_id is None:
        return frozenset()
    try:
        return frozenset((await uow.generations.get(generation_id, owner)).dropped_message_ids)
    except NotFoundError:
        return frozenset()
