"""One turn: a message goes in or is taken up again, a reply begins."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gpt2svc.chat.history import History, read_history
from gpt2svc.chat.prompt import TURN_LABELS, PromptBudget
from gpt2svc.chat.reply_plan import ReplyPlanner
from gpt2svc.chat.text_input import check_content, check_idempotency_key
from gpt2svc.chat.titles import title_from_message
from gpt2svc.chat.turn_request import Continuation, NewMessage, Regeneration, ReplyCut, Subject, TurnRequest
from gpt2svc.errors import ConversationBusyError, OverloadedError
from gpt2svc.generation.admission import Admission, Permit
from gpt2svc.generation.job import GenerationJob
from gpt2svc.generation.settings import SamplingSettings
from gpt2svc.generation.stored_reply import store_reply
from gpt2svc.generation.supervisor import GenerationSupervisor
from gpt2svc.persistence.database import Database
from gpt2svc.persistence.records import IdempotencyRecord
from gpt2svc.persistence.unit_of_work import UnitOfWork
from gpt2svc.persistence.unset import UNSET, Unset
from gpt2svc.worker.protocol import EnginePool


@dataclass(frozen=True, slots=True)
class AcceptedTurn:
    """Stored: the user's message and the row of a reply that is (or was, when replayed) being made."""

    generation_id: str
    message_id: str  # the assistant's
    user_message_id: str
    replayed: bool  # the Idempotency-Key was known: this is the first call's turn


class _HistoryChangedError(Exception):
    """Another turn was completed between the reading and the writing."""


class TurnService:
    def __init__(
        self,
        database: Database,
        engines: EnginePool,
        admission: Admission,
        supervisor: GenerationSupervisor,
        budget: PromptBudget,
    ) -> None:
        self._database = database
        self._admission = admission
        self._supervisor = supervisor
        self._budget = budget
        self._planner = ReplyPlanner(engines, budget)

    async def post(
        self,
        conversation_id: str,
        owner: str,
        content: str,
        *,
        settings: Mapping[str, Any] | None = None,
        parent_id: str | Unset | None = UNSET,
        idempotency_key: str | None = None,
    ) -> AcceptedTurn:
        """Accept a message: when it returns, both messages are committed and the reply is on its way.

        `settings` lie over the conversation's. Without a `parent_id` it follows the newest message; None begins the
        conversation anew, beside what is there. Raises, with nothing written: InvalidInputError, ContextWindowError,
        IdempotencyMismatchError, NotFoundError, ConversationBusyError, OverloadedError, UnavailableError, StorageError.
        """
        subject = NewMessage(check_content(content), parent_id)
        return await self._reply(conversation_id, owner, subject, settings, idempotency_key)

    async def regenerate(
        self,
        conversation_id: str,
        owner: str,
        message_id: str,
        *,
        settings: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> AcceptedTurn:
        """Begin another reply beside those that there are: `message_id` is the user's message or one of its replies.

        Raises as `post` does.
        """
        return await self._reply(conversation_id, owner, Regeneration(message_id), settings, idempotency_key)

    async def continue_reply(
        self,
        conversation_id: str,
        owner: str,
        message_id: str,
        *,
        cut: ReplyCut | None = None,
        settings: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> AcceptedTurn:
        """Begin a reply beside `message_id` whose text starts with that one's, or its beginning; see continuation.py.

        `settings` lie over those of the reply; a length in them is that of what is added. Raises as `post` does.
        """
        return await self._reply(conversation_id, owner, Continuation(message_id, cut), settings, idempotency_key)

    async def _reply(
        self,
        conversation_id: str,
        owner: str,
        subject: Subject,
        settings: Mapping[str, Any] | None,
        idempotency_key: str | None,
    ) -> AcceptedTurn:
        key = check_idempotency_key(idempotency_key)
        request = TurnRequest(conversation_id, owner, subject, dict(settings or {}), key)
        self._supervisor.require_accepting()
        try:
            # NOTE: before the first await, for the most that it can need; made smaller once the prompt is known.
            permit = self._admission.reserve(self._budget.max_prompt_tokens + _num_new_tokens(request.settings), owner)
        except OverloadedError:
            async with self._database.read() as uow:
                known = await _find_replay(uow, request)
            if known is None:
                raise
            return known
        return await self._supervisor.accept(self._accept(request, permit))

    async def _accept(self, request: TurnRequest, permit: Permit) -> AcceptedTurn:
        """Hands `permit` on with a launched reply, and releases it otherwise."""
        try:
            accepted, job = await self._commit(request, permit)
        except BaseException:
            permit.release()
            raise
        if job is None:
            permit.release()
        else:
            self._supervisor.launch(job)
        return accepted

    async def _commit(self, request: TurnRequest, permit: Permit) -> tuple[AcceptedTurn, GenerationJob | None]:
        """The turn, and the job to launch unless it is a replay."""
        while True:
            with contextlib.suppress(_HistoryChangedError):
                return await self._try_to_commit(request, permit)

    async def _try_to_commit(self, request: TurnRequest, permit: Permit) -> tuple[AcceptedTurn, GenerationJob | None]:
        async with self._database.read() as uow:
            # NOTE: in one snapshot: a reply in progress that is this very request's, sent twice at the same time, is
            # found by its key before it could make the conversation look busy.
            known = await _find_replay(uow, request)
            if known is not None:
                return known, None
            history = await read_history(uow, request)
        job = await self._prepare(request, history, permit)
        accepted = await self._database.write(lambda uow: self._store(uow, request, history, job))
        return accepted, None if accepted.replayed else job

    async def _prepare(self, request: TurnRequest, history: History, permit: Permit) -> GenerationJob:
        """Everything that can be refused, and the prompt, before the transaction."""
        plan = await self._planner.plan(history, request.settings)
        permit.resize(len(plan.prompt_token_ids) + plan.settings.num_computed_tokens)
        ids = self._database.ids
        return GenerationJob(
            generation_id=ids.new_generation_id(),
            conversation_id=request.conversation_id,
            user_message_id=history.user_message.id or ids.new_message_id(),
            message_id=ids.new_message_id(),
            owner=request.owner,
            model=plan.model,
            model_revision=plan.model_revision,
            prompt_token_ids=plan.prompt_token_ids,
            settings=plan.settings,
            seed=plan.seed,
            dropped_message_ids=plan.dropped_message_ids,
            turn_labels=TURN_LABELS,
            prefix=plan.prefix,
            permit=permit,
        )

    async def _store(self, uow: UnitOfWork, request: TurnRequest, history: History, job: GenerationJob) -> AcceptedTurn:
        """The accept transaction. Raises _HistoryChangedError when the conversation has grown since it was read."""
        conversation = await uow.conversations.get(request.conversation_id, request.owner)
        if request.idempotency_key is not None:
            record = await uow.idempotency_keys.claim(
                owner=request.owner,
                key=request.idempotency_key,
                body_hash=request.body_hash,
                conversation_id=request.conversation_id,
                user_message_id=job.user_message_id,
                message_id=job.message_id,
                generation_id=job.generation_id,
            )
            if record.generation_id != job.generation_id:
                return _replay(record)
        active = await uow.generations.active(request.conversation_id)
        if active is not None:
            raise ConversationBusyError(request.conversation_id, active.id)
        last = await uow.messages.last(request.conversation_id)
        if (last.id if last is not None else None) != history.newest_message_id:
            raise _HistoryChangedError
        message = history.user_message
        if not message.id:
            await uow.messages.create(
                conversation_id=request.conversation_id,
                role="user",
                content=message.content,
                parent_id=message.parent_id,
                message_id=job.user_message_id,
            )
        await store_reply(uow, job, parent_id=job.user_message_id)
        if conversation.title is None:
            title = title_from_message(message.content)
            await uow.conversations.update(request.conversation_id, request.owner, title=title)
        return AcceptedTurn(job.generation_id, job.message_id, job.user_message_id, replayed=False)


def _num_new_tokens(asked: Mapping[str, Any]) -> int:
    """At most, as the request has it; what the conversation sets is not known yet."""
    return SamplingSettings.from_mapping(asked, is_whole=False).num_computed_tokens


async def _find_replay(uow: UnitOfWork, request: TurnRequest) -> AcceptedTurn | None:
    """Raises IdempotencyMismatchError."""
    record = await uow.idempotency_keys.find_replay(request.owner, request.idempotency_key, request.body_hash)
    return None if record is None else _replay(record)


def _replay(record: IdempotencyRecord) -> AcceptedTurn:
    return AcceptedTurn(record.generation_id, record.message_id, record.user_message_id, replayed=True)
