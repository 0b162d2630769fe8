"""Responses: durable generations under /v1/responses, each with its own input, in chains."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from gpt2svc.chat.prompt import TURN_LABELS, PromptBudget
from gpt2svc.chat.text_input import check_idempotency_key
from gpt2svc.completions.completion import CompletionFacts
from gpt2svc.completions.service import CompletionService
from gpt2svc.errors import OverloadedError
from gpt2svc.generation.admission import Permit
from gpt2svc.generation.events import Event
from gpt2svc.generation.job import GenerationJob
from gpt2svc.generation.settings import SamplingSettings
from gpt2svc.generation.stored_reply import store_reply
from gpt2svc.generation.supervisor import GenerationSupervisor
from gpt2svc.persistence.database import Database
from gpt2svc.persistence.records import ACTIVE_STATUSES
from gpt2svc.persistence.unit_of_work import UnitOfWork
from gpt2svc.responses.head import ResponseHead
from gpt2svc.responses.request import ResponseRequest
from gpt2svc.responses.stored import StoredResponse, dropped_ids, find_replay, read_history, read_response
from gpt2svc.responses.unstored import UnstoredResponse


class _Acceptance:
    """Between a client that may leave and the work that it asked for."""

    generation_id: str | None = None  # once it is launched
    is_unwanted = False


class ResponseService:
    """Every method raises NotFoundError for a response that isn't there or is another owner's."""

    def __init__(
        self,
        database: Database,
        completions: CompletionService,
        supervisor: GenerationSupervisor,
        budget: PromptBudget,
    ) -> None:
        self._database = database
        self._completions = completions
        self._supervisor = supervisor
        self._budget = budget

    async def begin(self, asked: ResponseRequest) -> StoredResponse:
        """Accept a response: when it returns, its row is committed and its reply is on its way.

        A caller that is cancelled meanwhile takes a reply that is not detached with it. Raises, with nothing written:
        InvalidInputError, ContextWindowError, IdempotencyMismatchError, NotFoundError (model, previous response),
        OverloadedError, UnavailableError, ModelError, StorageError.
        """
        check_idempotency_key(asked.idempotency_key)
        self._supervisor.require_accepting()
        try:
            # NOTE: before the first await; what came before counts once it has been read.
            (permit,) = self._completions.reserve(asked.completion(asked.input, self._budget))
        except OverloadedError:
            known = await self._find_replay(asked)
            if known is None:
                raise
            return known
        acceptance = _Acceptance()
        try:
            return await self._supervisor.accept(self._accept(asked, permit, acceptance))
        except asyncio.CancelledError:
            acceptance.is_unwanted = not asked.is_detached
            self._drop_unwanted(acceptance, asked.owner)
            raise

    async def begin_unstored(self, asked: ResponseRequest) -> UnstoredResponse:
        """One that nothing is written of; the caller closes it. Raises as `begin` does."""
        permits = self._completions.reserve(asked.completion(asked.input, self._budget))
        try:
            async with self._database.read() as uow:
                history = await read_history(uow, asked)
            facts, engine = await self._completions.prepare(asked.completion(history, self._budget), permits)
            completion = self._completions.start(facts, engine, permits)
        except BaseException:
            for permit in permits:
                permit.release()
            raise
        ids = self._database.ids
        settings = _settings(asked, facts)
        head = ResponseHead(
            id=ids.new_response_id(),
            message_id=ids.new_message_id(),
            created_at=datetime.now(UTC),
            model=facts.model,
            model_revision=facts.revision,
            settings=settings.to_mapping(),
            seed=facts.plans[0].seed,
            previous_response_id=asked.previous_response_id,
            request=asked.echo,
            num_dropped=facts.prompts[0].num_dropped,
            is_stored=False,
        )
        return UnstoredResponse(head, completion)

    async def get(self, response_id: str, owner: str) -> StoredResponse:
        async with self._database.read() as uow:
            return await read_response(uow, await uow.responses.get(response_id, owner))

    async def events(self, stored: StoredResponse) -> AsyncIterator[Event]:
        """All of its events, from the first on; live where it is in progress. Any number of readers."""
        events: Any = self._supervisor.events(stored.generation.id, stored.generation.owner)
        async with aclosing(events) as open_events:
            async for event in open_events:
                yield event

    def abandon(self, stored: StoredResponse) -> None:
        """Have it end as cancelled, without waiting for that; one that has ended stays as it is."""
        self._supervisor.abandon(stored.generation.id, stored.generation.owner)

    async def cancel(self, response_id: str, owner: str) -> StoredResponse:
        """Stop it and wait for its end; one that has ended stays as it is."""
        stored = await self.get(response_id, owner)
        await self._supervisor.cancel(stored.generation.id, owner)
        return await self.get(response_id, owner)

    async def delete(self, response_id: str, owner: str) -> None:
        """With its reply, which is cancelled first where it is in progress. Those that follow it stay."""

        async def work(uow: UnitOfWork) -> str | None:
            response = await uow.responses.get(response_id, owner)
            generation = await uow.generations.get(response.generation_id, owner)
            if generation.status in ACTIVE_STATUSES:
                return generation.id
            await uow.responses.delete(response_id, owner)
            return None

        while (generation_id := await self._database.write(work)) is not None:
            await self._supervisor.cancel(generation_id, owner)

    async def _accept(self, asked: ResponseRequest, permit: Permit, acceptance: _Acceptance) -> StoredResponse:
        """Hands `permit` on with a launched reply, and releases it otherwise."""
        try:
            stored, job = await self._commit(asked, permit)
        except BaseException:
            permit.release()
            raise
        if job is None:
            permit.release()
            return stored
        self._supervisor.launch(job)
        acceptance.generation_id = job.generation_id
        self._drop_unwanted(acceptance, asked.owner)
        return stored

    def _drop_unwanted(self, acceptance: _Acceptance, owner: str) -> None:
        """The client may leave before the launch or after it."""
        if acceptance.is_unwanted and acceptance.generation_id is not None:
            self._supervisor.abandon(acceptance.generation_id, owner)

    async def _commit(self, asked: ResponseRequest, permit: Permit) -> tuple[StoredResponse, GenerationJob | None]:
        async with self._database.read() as uow:
            known = await find_replay(uow, asked)
            if known is not None:
                return known, None
            history = await read_history(uow, asked)
        request = asked.completion(history, self._budget)
        facts, _ = await self._completions.prepare(request, (permit,))
        ids = self._database.ids
        job = GenerationJob(
            generation_id=ids.new_generation_id(),
            conversation_id="",
            user_message_id="",
            message_id=ids.new_message_id(),
            owner=asked.owner,
            model=facts.model,
            model_revision=facts.revision,
            prompt_token_ids=facts.prompts[0].token_ids,
            settings=_settings(asked, facts),
            seed=facts.plans[0].seed,
            dropped_message_ids=dropped_ids(history, facts),
            turn_labels=TURN_LABELS,
            prefix=None,
            permit=permit,
        )
        stored = await self._database.write(lambda uow: self._store(uow, asked, job))
        job = replace(job, conversation_id=stored.response.conversation_id)
        return stored, None if stored.is_replayed else job

    async def _store(self, uow: UnitOfWork, asked: ResponseRequest, job: GenerationJob) -> StoredResponse:
        """The accept transaction: the reply's unseen conversation, its message, its generation and the response."""
        known = await find_replay(uow, asked)
        if known is not None:
            return known
        conversation = await uow.conversations.create(owner=asked.owner, kind="response")
        if asked.idempotency_key is not None:
            await uow.idempotency_keys.claim(
                owner=asked.owner,
                key=asked.idempotency_key,
                body_hash=asked.body_hash,
                conversation_id=conversation.id,
                user_message_id="",
                message_id=job.message_id,
                generation_id=job.generation_id,
            )
        generation = await store_reply(uow, replace(job, conversation_id=conversation.id))
        response = await uow.responses.create(
            response_id=self._database.ids.new_response_id(),
            owner=asked.owner,
            conversation_id=conversation.id,
            generation_id=generation.id,
            previous_response_id=asked.previous_response_id,
            items=asked.input,
            request=asked.echo,
        )
        return StoredResponse(response, generation, ())

    async def _find_replay(self, asked: ResponseRequest) -> StoredResponse | None:
        async with self._database.read() as uow:
            return await find_replay(uow, asked)


def _settings(asked: ResponseRequest, facts: CompletionFacts) -> SamplingSettings:
    """With the length that fits and the seed."""
    params = facts.plans[0].request.params
    return replace(
        asked.settings,
        max_new_tokens=params.max_new_tokens,
        min_new_tokens=params.min_new_tokens,
        seed=facts.plans[0].seed,
    )
