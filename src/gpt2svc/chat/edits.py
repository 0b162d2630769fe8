"""A reply in the user's own words: a message beside it, with nothing generated."""

from dataclasses import dataclass

from gpt2svc.chat.text_input import check_content, check_idempotency_key
from gpt2svc.errors import ConversationBusyError, InvalidInputError
from gpt2svc.persistence.database import Database
from gpt2svc.persistence.idempotency_keys import hash_of_request
from gpt2svc.persistence.records import MessageRecord
from gpt2svc.persistence.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class EditedMessage:
    message: MessageRecord
    replayed: bool  # the Idempotency-Key was known: this is the first call's message


class EditService:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def edit(
        self,
        conversation_id: str,
        owner: str,
        message_id: str,
        content: str,
        *,
        idempotency_key: str | None = None,
    ) -> EditedMessage:
        """A completed assistant's message with this text, beside `message_id`, which stays as it is.

        Raises, with nothing written: InvalidInputError, IdempotencyMismatchError, NotFoundError, StorageError, and
        ConversationBusyError while a reply is being made.
        """
        content = check_content(content)
        key = check_idempotency_key(idempotency_key)
        new_id = self._database.ids.new_message_id()

        async def work(uow: UnitOfWork) -> EditedMessage:
            conversation = await uow.conversations.get(conversation_id, owner)
            edited = await uow.messages.get(message_id, conversation.id)
            if key is not None:
                record = await uow.idempotency_keys.claim(
                    owner=owner,
                    key=key,
                    body_hash=hash_of_request(["edit", conversation_id, message_id, content]),
                    conversation_id=conversation.id,
                    user_message_id=edited.parent_id or "",
                    message_id=new_id,
                    generation_id="",
                )
                if record.message_id != new_id:
                    return EditedMessage(await uow.messages.get(record.message_id, conversation.id), replayed=True)
            if edited.role != "assistant":
                raise InvalidInputError(
                    "Only a reply is edited here; a user's message is posted anew, with the parent_id of the old one.",
                    field="message_id",
                )
            active = await uow.generations.active(conversation.id)
            if active is not None:
                raise ConversationBusyError(conversation.id, active.id)
            message = await uow.messages.create(
                conversation_id=conversation.id,
                role="assistant",
                content=content,
                parent_id=edited.parent_id,
                message_id=new_id,
            )
            return EditedMessage(message, replayed=False)

        return await self._database.write(work)
