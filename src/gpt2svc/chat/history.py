"""What a reply answers: its conversation, the path from the root, and what the last prompt left out."""

from dataclasses import dataclass, replace

from gpt2svc.chat.turn_request import Continuation, NewMessage, Regeneration, ReplyCut, TurnRequest
from gpt2svc.chat.unstored_message import unstored_message
from gpt2svc.errors import ConversationBusyError, InvalidInputError, NotFoundError
from gpt2svc.persistence.records import ConversationRecord, GenerationRecord, MessageRecord, TokenRecord
from gpt2svc.persistence.unit_of_work import UnitOfWork
from gpt2svc.persistence.unset import Unset


@dataclass(frozen=True, slots=True)
class KeptReply:
    """A reply that is to be continued; `generation` and `tokens` are not there for one that was written or imported."""

    message: MessageRecord
    generation: GenerationRecord | None
    tokens: tuple[TokenRecord, ...]  # all of it, those of a reply that it continued itself included
    cut: ReplyCut | None = None  # where to go on from; None: from its end


@dataclass(frozen=True, slots=True)
class History:
    """From one snapshot of the store. `newest_message_id` tells later whether the conversation has grown since."""

    conversation: ConversationRecord
    path: tuple[MessageRecord, ...]  # root first; the last is the user's message, whose id is "" while it is not stored
    newest_message_id: str | None
    dropped_before: frozenset[str]  # ids that the previous reply on this path did without
    continued: KeptReply | None

    @property
    def user_message(self) -> MessageRecord:
        return self.path[-1]


async def read_history(uow: UnitOfWork, request: TurnRequest) -> History:
    """The history of the reply that is asked for.

    Raises NotFoundError (conversation; message, when it is not in it), ConversationBusyError, and InvalidInputError
    where there is nothing to reply to or to continue.
    """
    conversation = await uow.conversations.get(request.conversation_id, request.owner)
    active = await uow.generations.active(conversation.id)
    if active is not None:
        raise ConversationBusyError(conversation.id, active.id)
    newest = await uow.messages.last(conversation.id)
    continued = None
    match request.subject:
        case NewMessage(content, parent_id):
            if isinstance(parent_id, Unset):
                parent_id = newest.id if newest is not None else None
            try:
                path = await _path(uow, conversation.id, parent_id)
            except NotFoundError as error:
                raise NotFoundError("message", error.identifier, field="parent_id") from error
            path = (*path, unstored_message("user", content, conversation_id=conversation.id, parent_id=parent_id))
        case Regeneration(message_id):
            path = await path_to_question(uow, conversation.id, message_id)
        case Continuation(message_id, cut):
            continued = replace(await kept_reply(uow, conversation, message_id), cut=cut)
            path = await path_to_question(uow, conversation.id, message_id)
    dropped = await dropped_before(uow, path, request.owner)
    return History(conversation, path, newest.id if newest is not None else None, dropped, continued)


async def _path(uow: UnitOfWork, conversation_id: str, message_id: str | None) -> tuple[MessageRecord, ...]:
    if message_id is None:
        return ()
    message = await uow.messages.get(message_id, conversation_id)
    return await uow.messages.path_to(message.id)


async def path_to_question(uow: UnitOfWork, conversation_id: str, message_id: str) -> tuple[MessageRecord, ...]:
    """The path to a user's message, given by itself or by a reply to it."""
    path = await _path(uow, conversation_id, message_id)
    if path[-1].role == "assistant":
        path = path[:-1]
    if not path or path[-1].role != "user":
        raise InvalidInputError("This message is neither a user's nor a reply to one.", field="message_id")
    return path


async def kept_reply(uow: UnitOfWork, conversation: ConversationRecord, message_id: str) -> KeptReply:
    """A reply with what is stored of its making. Raises NotFoundError and InvalidInputError (no reply; no text)."""
    message = await uow.messages.get(message_id, conversation.id)
    if message.role != "assistant" or not message.content.strip():
        raise InvalidInputError("Only a reply that has some text can be continued.", field="message_id")
    if message.generation_id is None:
        return KeptReply(message, None, ())
    generation = await _generation(uow, message.generation_id, conversation.owner)
    if generation is None:
        return KeptReply(message, None, ())
    tokens = [*await uow.generations.prefix_tokens(generation.id), *await uow.generations.tokens(generation.id)]
    return KeptReply(message, generation, tuple(tokens))


async def dropped_before(uow: UnitOfWork, path: tuple[MessageRecord, ...], owner: str) -> frozenset[str]:
    """Ids that the last reply on this path did without."""
    generation_id = next((message.generation_id for message in reversed(path) if message.generation_id), None)
    generation = await _generation(uow, generation_id, owner) if generation_id is not None else None
    return frozenset(generation.dropped_message_ids) if generation is not None else frozenset()


async def _generation(uow: UnitOfWork, generation_id: str, owner: str) -> GenerationRecord | None:
    try:
        return await uow.generations.get(generation_id, owner)
    except NotFoundError:
        return None
