"""One turn: the user's message goes in, a reply begins."""

import asyncio
import contextlib
import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from gpt2svc.chat.history import History, read_history
from gpt2svc.chat.prompt import TURN_LABELS, Prompt, PromptBudget, build_prompt
from gpt2svc.chat.text_input import check_content, check_idempotency_key
from gpt2svc.chat.titles import title_from_message
from gpt2svc.engine.types import ModelInfo
from gpt2svc.errors import (
    ConversationBusyError,
    IdempotencyMismatchError,
    InvalidInputError,
    OverloadedError,
)
from gpt2svc.generation.admission import Admission, Permit
from gpt2svc.generation.job import GenerationJob
from gpt2svc.generation.settings import SamplingSettings
from gpt2svc.generation.supervisor import GenerationSupervisor
from gpt2svc.persistence.database import Database
from gpt2svc.persistence.records import IdempotencyRecord
from gpt2svc.persistence.unit_of_work import UnitOfWork
from gpt2svc.worker.protocol import EnginePool

MAX_DRAWN_SEED = 2**32 - 1  # short enough to read out, and exact in JavaScript


@dataclass(frozen=True, slots=True)
class AcceptedTurn:
    """Stored: the user's message and the row of a reply that is (or was, when replayed) being made."""

    generation_id: str
    message_id: str  # the assistant's
    user_message_id: str
    replayed: bool  # the Idempotency-Key was known: this is the first call's turn


@dataclass(frozen=True, slots=True)
class _Request:
    conversation_id: str
    owner: str
    content: str
    settings: Mapping[str, Any]
    parent_id: str | None
    idempotency_key: str | None

    @property
    def body_hash(self) -> str:
        body = [self.conversation_id, self.content, dict(self.settings), self.parent_id]
        return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


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
        self._engines = engines
        self._admission = admission
        self._supervisor = supervisor
        self._budget = budget

    async def post(
        self,
        conversation_id: str,
        owner: str,
        content: str,
        *,
        settings: Mapping[str, Any] | None = None,
        parent_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> AcceptedTurn:
        """Accept a message: when it returns, both messages are committed and the reply is on its way.

        `settings` lie over the conversation's. `parent_id` None follows the newest message. Raises, with nothing
        written: InvalidInputError, ContextWindowError, IdempotencyMismatchError, NotFoundError, ConversationBusyError,
        OverloadedError, UnavailableError, StorageError.
        """
        request = _Request(
            conversation_id,
            owner,
            check_content(content),
            dict(settings or {}),
            parent_id,
            check_idempotency_key(idempotency_key),
        )
        self._supervisor.require_accepting()
        try:
            # NOTE: before the first await, for the most that it can need; made smaller once the prompt is known.
            permit = self._admission.reserve(self._budget.max_prompt_tokens + _num_new_tokens_asked(request.settings))
        except OverloadedError:
            async with self._database.read() as uow:
                known = await _find_replay(uow, request)
            if known is None:
                raise
            return known
        return await self._supervisor.accept(self._accept(request, permit))

    async def _accept(self, request: _Request, permit: Permit) -> AcceptedTurn:
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

    async def _commit(self, request: _Request, permit: Permit) -> tuple[AcceptedTurn, GenerationJob | None]:
        """The turn, and the job to launch unless it is a replay."""
        while True:
            with contextlib.suppress(_HistoryChangedError):
                return await self._try_to_commit(request, permit)

    async def _try_to_commit(self, request: _Request, permit: Permit) -> tuple[AcceptedTurn, GenerationJob | None]:
        async with self._database.read() as uow:
            # NOTE: in one snapshot: a reply in progress that is this very request's, sent twice at the same time, is
            # found by its key before it could make the conversation look busy.
            known = await _find_replay(uow, request)
            if known is not None:
                return known, None
            history = await read_history(
                uow, request.conversation_id, request.owner, request.content, request.parent_id
            )
        job = await self._prepare(request, history, permit)
        accepted = await self._database.write(lambda uow: self._store(uow, request, history, job))
        return accepted, None if accepted.replayed else job

    async def _prepare(self, request: _Request, history: History, permit: Permit) -> GenerationJob:
        """Everything that can be refused, and the prompt, before the transaction."""
        model = history.conversation.model or self._engines.default_model
        engine = self._engines.get(model)
        tokenizer, n_positions = engine.tokenizer, engine.n_positions
        settings = self._settings(request.settings, history.conversation.settings, n_positions)
        _check_logit_bias(settings, engine.state.info)
        max_tokens = self._budget.num_prompt_tokens(n_positions, settings.max_new_tokens)
        prompt: Prompt = await asyncio.to_thread(
            build_prompt,
            history.path,
            tokenizer,
            max_tokens=max_tokens,
            max_messages=self._budget.max_messages,
            dropped_before=history.dropped_before,
        )
        permit.resize(len(prompt.token_ids) + settings.max_new_tokens)
        seed = settings.seed if settings.seed is not None else secrets.randbelow(MAX_DRAWN_SEED + 1)
        ids = self._database.ids
        return GenerationJob(
            generation_id=ids.new_generation_id(),
            conversation_id=request.conversation_id,
            user_message_id=ids.new_message_id(),
            message_id=ids.new_message_id(),
            owner=request.owner,
            model=model,
            model_revision=engine.revision,
            prompt_token_ids=prompt.token_ids,
            settings=replace(settings, seed=seed),
            seed=seed,
            dropped_message_ids=prompt.dropped_message_ids,
            turn_labels=TURN_LABELS,
            permit=permit,
        )

    def _settings(self, asked: Mapping[str, Any], kept: Mapping[str, Any], n_positions: int) -> SamplingSettings:
        settings = SamplingSettings.from_mapping(asked, SamplingSettings.from_mapping(kept))
        given = {**kept, **asked}
        if given.get("max_new_tokens") is None and given.get("max_length") is None:
            num_new = self._budget.default_max_new_tokens(n_positions)
            settings = replace(settings, max_new_tokens=num_new, min_new_tokens=min(settings.min_new_tokens, num_new))
        return settings

    async def _store(self, uow: UnitOfWork, request: _Request, history: History, job: GenerationJob) -> AcceptedTurn:
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
        settings = job.settings.to_mapping()
        await uow.messages.create(
            conversation_id=request.conversation_id,
            role="user",
            content=request.content,
            parent_id=history.new_message.parent_id,
            message_id=job.user_message_id,
        )
        await uow.messages.create(
            conversation_id=request.conversation_id,
            role="assistant",
            content="",
            parent_id=job.user_message_id,
            status="queued",
            message_id=job.message_id,
            generation_id=job.generation_id,
            settings=settings,
            model=job.model,
            model_revision=job.model_revision,
        )
        await uow.generations.create(
            conversation_id=request.conversation_id,
            message_id=job.message_id,
            owner=request.owner,
            model=job.model,
            model_revision=job.model_revision,
            settings=settings,
            seed=job.seed,
            prompt_tokens=len(job.prompt_token_ids),
            dropped_message_ids=job.dropped_message_ids,
            generation_id=job.generation_id,
        )
        if conversation.title is None:
            await uow.conversations.update(
                request.conversation_id, request.owner, title=title_from_message(request.content)
            )
        return AcceptedTurn(job.generation_id, job.message_id, job.user_message_id, replayed=False)


def _num_new_tokens_asked(settings: Mapping[str, Any]) -> int:
    """The reply's length as the request has it; the conversation's is not known yet."""
    # NOTE: min_new_tokens is compared with the length that holds in the end.
    given = {name: value for name, value in settings.items() if name != "min_new_tokens"}
    return SamplingSettings.from_mapping(given).max_new_tokens


def _check_logit_bias(settings: SamplingSettings, info: ModelInfo | None) -> None:
    if info is None or not settings.logit_bias:
        return
    largest = settings.logit_bias[-1][0]
    if largest >= info.vocab_size:
        raise InvalidInputError(
            f"settings.logit_bias names token {largest}; {info.name} has tokens 0 to {info.vocab_size - 1}.",
            field="settings.logit_bias",
        )


async def _find_replay(uow: UnitOfWork, request: _Request) -> AcceptedTurn | None:
    """Raises IdempotencyMismatchError."""
    if request.idempotency_key is None:
        return None
    record = await uow.idempotency_keys.get(request.owner, request.idempotency_key)
    if record is None:
        return None
    if record.body_hash != request.body_hash:
        raise IdempotencyMismatchError(
            "This Idempotency-Key was used before with another request. Use a new key for a new message.",
            field="Idempotency-Key",
        )
    return _replay(record)


def _replay(record: IdempotencyRecord) -> AcceptedTurn:
    return AcceptedTurn(record.generation_id, record.message_id, record.user_message_id, replayed=True)
