"""Conversations: create, read, list, change, delete."""

from collections.abc import Mapping
from typing import Any

from gpt2svc.chat.text_input import check_text, check_title
from gpt2svc.errors import InvalidInputError, UnavailableError
from gpt2svc.generation.settings import SamplingSettings
from gpt2svc.generation.supervisor import GenerationSupervisor
from gpt2svc.persistence.database import Database
from gpt2svc.persistence.records import ConversationRecord, MessageRecord, Page
from gpt2svc.persistence.unit_of_work import UnitOfWork
from gpt2svc.persistence.unset import UNSET, Unset
from gpt2svc.worker.protocol import EnginePool

MAX_MODEL_NAME_LENGTH = 255


class ConversationService:
    """Every method raises NotFoundError for a conversation that isn't there or is another owner's."""

    def __init__(self, database: Database, engines: EnginePool, supervisor: GenerationSupervisor) -> None:
        self._database = database
        self._engines = engines
        self._supervisor = supervisor

    async def create(
        self,
        owner: str,
        *,
        title: str | None = None,
        model: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> ConversationRecord:
        """`settings` may be partial. Raises InvalidInputError (title, settings) and NotFoundError (model)."""
        title = check_title(title)
        self._require_model(model)
        chosen = _merged({}, settings or {})
        return await self._database.write(
            lambda uow: uow.conversations.create(owner=owner, title=title, model=model, settings=chosen)
        )

    async def get(self, conversation_id: str, owner: str) -> ConversationRecord:
        async with self._database.read() as uow:
            return await uow.conversations.get(conversation_id, owner)

    async def list(
        self, owner: str, *, limit: int = 20, cursor: str | None = None, query: str | None = None
    ) -> Page[ConversationRecord]:
        """Newest first; `query` searches titles and messages. Raises InvalidInputError for a bad cursor."""
        async with self._database.read() as uow:
            return await uow.conversations.list(owner, cursor=cursor, limit=limit, search=query)

    async def update(self, conversation_id: str, owner: str, changes: Mapping[str, Any]) -> ConversationRecord:
        """`changes` may hold `title`, `model` and `settings`; what is not in it stays; None puts the default back.

        `settings` are merged key by key, None puts one setting's default back.
        """
        unknown = changes.keys() - {"title", "model", "settings"}
        if unknown:
            name = min(unknown)
            raise InvalidInputError(f"{name} can't be changed: title, model and settings can.", field=name)
        title: str | Unset | None = check_title(changes["title"]) if "title" in changes else UNSET
        model: str | Unset | None = changes.get("model", UNSET)
        if not isinstance(model, Unset):
            self._require_model(model)

        async def work(uow: UnitOfWork) -> ConversationRecord:
            settings: Mapping[str, Any] | Unset = UNSET
            if "settings" in changes:
                given = changes["settings"]
                conversation = await uow.conversations.get(conversation_id, owner)
                settings = {} if given is None else _merged(conversation.settings, given)
            return await uow.conversations.update(conversation_id, owner, title=title, model=model, settings=settings)

        return await self._database.write(work)

    async def delete(self, conversation_id: str, owner: str) -> None:
        """With its messages and generations; a reply in progress is cancelled first."""

        async def work(uow: UnitOfWork) -> str | None:
            await uow.conversations.get(conversation_id, owner)
            active = await uow.generations.active(conversation_id)
            if active is None:
                await uow.conversations.delete(conversation_id, owner)
            return active.id if active is not None else None

        while (generation_id := await self._database.write(work)) is not None:
            await self._supervisor.cancel(generation_id, owner)

    async def messages(
        self, conversation_id: str, owner: str, *, limit: int = 100, cursor: str | None = None
    ) -> Page[MessageRecord]:
        """Oldest first, all branches."""
        async with self._database.read() as uow:
            await uow.conversations.get(conversation_id, owner)
            return await uow.messages.list(conversation_id, cursor=cursor, limit=limit)

    async def message(self, conversation_id: str, message_id: str, owner: str) -> MessageRecord:
        async with self._database.read() as uow:
            await uow.conversations.get(conversation_id, owner)
            return await uow.messages.get(message_id, conversation_id)

    def _require_model(self, model: str | None) -> None:
        if model is None:
            return
        check_text("model", model, MAX_MODEL_NAME_LENGTH)
        try:
            self._engines.get(model)
        except UnavailableError:
            return  # it is there, only not now


def _merged(before: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """What was set before with `given` over it; a given None unsets. Raises InvalidInputError as settings.py does."""
    given = {("max_new_tokens" if name == "max_length" else name): value for name, value in _checked(given).items()}
    merged = {name: value for name, value in {**before, **given}.items() if value is not None}
    settings = SamplingSettings.from_mapping(merged)
    settings.require_asked(given)
    complete = settings.to_mapping()
    return {name: complete[name] for name in merged}


def _checked(given: Mapping[str, Any]) -> Mapping[str, Any]:
    # NOTE: on its own first, while an alias and its name can still be told apart.
    SamplingSettings.from_mapping(given, is_whole=False)
    return given
