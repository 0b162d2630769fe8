"""What a response answers, and what is stored of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from gpt2svc.completions.completion import CompletionFacts
from gpt2svc.errors import InvalidInputError, NotFoundError
from gpt2svc.persistence.records import (
    ACTIVE_STATUSES,
    ChainLink,
    GenerationRecord,
    InputItem,
    ResponseRecord,
    TokenRecord,
)
from gpt2svc.persistence.unit_of_work import UnitOfWork
from gpt2svc.responses.head import ResponseHead
from gpt2svc.responses.request import ResponseRequest


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """From one snapshot: `tokens` are those that are stored."""

    response: ResponseRecord
    generation: GenerationRecord
    tokens: tuple[TokenRecord, ...]
    is_replayed: bool = False  # an Idempotency-Key was known: this is the first request's

    @property
    def head(self) -> ResponseHead:
        return ResponseHead.of(self.response, self.generation)


async def read_history(uow: UnitOfWork, asked: ResponseRequest) -> tuple[InputItem, ...]:
    """All that the reply answers: the chain's messages and replies, then the request's own."""
    if asked.previous_response_id is None:
        return asked.input
    try:
        chain = await uow.responses.chain_to(asked.previous_response_id, asked.owner)
    except NotFoundError as error:
        error.field = "previous_response_id"
        raise
    if chain[-1].reply_status in ACTIVE_STATUSES:
        raise InvalidInputError(
            f"Response {asked.previous_response_id} is still being written: wait for its end, or cancel it.",
            field="previous_response_id",
        )
    return (*[item for link in chain for item in _items(link)], *asked.input)


def _items(link: ChainLink) -> tuple[InputItem, ...]:
    # As in conversations: a failed reply is left out; what is kept of one that was cut off is part of the talk.
    if link.reply_status == "failed":
        return link.response.input
    return (*link.response.input, InputItem(link.reply_id, "assistant", link.reply_text))


def dropped_ids(history: Sequence[InputItem], facts: CompletionFacts) -> tuple[str, ...]:
    """Ids of the oldest messages, which did not fit; blank and system ones are no turns."""
    turns = [item.id for item in history if item.role in ("user", "assistant") and item.content.strip()]
    return tuple(turns[: facts.prompts[0].num_dropped])


async def read_response(uow: UnitOfWork, response: ResponseRecord, *, is_replayed: bool = False) -> StoredResponse:
    generation = await uow.generations.get(response.generation_id, response.owner)
    return StoredResponse(response, generation, tuple(await uow.generations.tokens(generation.id)), is_replayed)


async def find_replay(uow: UnitOfWork, asked: ResponseRequest) -> StoredResponse | None:
    """Raises IdempotencyMismatchError."""
    record = await uow.idempotency_keys.find_replay(asked.owner, asked.idempotency_key, asked.body_hash)
    if record is None:
        return None
    response = await uow.responses.of_conversation(record.conversation_id, asked.owner)
    return await read_response(uow, response, is_replayed=True)
