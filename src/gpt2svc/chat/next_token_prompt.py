"""The prompt at a place of a conversation: before a reply, or after any part of one."""

from dataclasses import dataclass

from gpt2svc.chat.continuation import reply_token_ids, same_prompt
from gpt2svc.chat.history import KeptReply, dropped_before, kept_reply, path_to_question
from gpt2svc.chat.prompt import Prompt, PromptBudget, build_prompt
from gpt2svc.chat.text_input import MAX_CONTENT_LENGTH, check_text
from gpt2svc.errors import ContextWindowError, InvalidInputError
from gpt2svc.generation.reply_prefix import prefix_of_text
from gpt2svc.models.tokenizer import Tokenizer
from gpt2svc.persistence.records import MessageRecord
from gpt2svc.persistence.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class PlaceInConversation:
    """After a reply (`message_id` None: the newest message), or before a reply to a user's message.

    `num_reply_tokens`: after so many of that reply's own tokens. `prefix`: after this text in its place.
    """

    conversation_id: str
    message_id: str | None = None
    prefix: str | None = None
    num_reply_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class ReadPlace:
    """From one snapshot of the store."""

    place: PlaceInConversation
    model: str | None  # the conversation's
    reply_model: str | None
    path: tuple[MessageRecord, ...]  # to the user's message
    dropped_before: frozenset[str]
    reply: KeptReply | None


@dataclass(frozen=True, slots=True)
class PlaceTokens:
    """What a model reads up to a place."""

    prompt: Prompt
    reply: tuple[int, ...]
    is_exact: bool  # the very tokens of the reply's making; else those that the model reads in their place

    @property
    def token_ids(self) -> tuple[int, ...]:
        return self.prompt.token_ids + self.reply


async def read_place(uow: UnitOfWork, owner: str, place: PlaceInConversation) -> ReadPlace:
    """Raises NotFoundError, and InvalidInputError where there is nothing to reply to."""
    check_text("prefix", place.prefix or "", MAX_CONTENT_LENGTH)
    if place.prefix is not None and place.num_reply_tokens is not None:
        raise InvalidInputError("Give prefix or num_reply_tokens, not both.", field="prefix")
    conversation = await uow.conversations.get(place.conversation_id, owner)
    message_id = place.message_id
    if message_id is None:
        newest = await uow.messages.last(conversation.id)
        if newest is None:
            raise InvalidInputError("The conversation has no messages yet.", field="conversation_id")
        message_id = newest.id
    message = await uow.messages.get(message_id, conversation.id)
    path = await path_to_question(uow, conversation.id, message_id)
    has_reply = message.role == "assistant" and message.content.strip() != ""
    reply = await kept_reply(uow, conversation, message_id) if has_reply else None
    reply_model = reply.message.model if reply is not None else None
    dropped = await dropped_before(uow, path, owner)
    return ReadPlace(place, conversation.model, reply_model, path, dropped, reply)


def tokens_at(
    read: ReadPlace, tokenizer: Tokenizer, budget: PromptBudget, n_positions: int, revision: str
) -> PlaceTokens:
    """Raises InvalidInputError, and ContextWindowError where it does not fit the window."""
    prefix_ids, is_own = _prefix(read, tokenizer, revision)
    if read.reply is not None and read.reply.message.model_revision == revision:
        prompt = same_prompt(read.path, read.reply, tokenizer)
        if prompt is not None and len(prompt.token_ids) + len(prefix_ids) <= n_positions:
            return PlaceTokens(prompt, prefix_ids, is_own)
    if len(prefix_ids) >= n_positions:
        raise ContextWindowError(
            f"The prefix has {len(prefix_ids)} tokens; the model's window is {n_positions}.",
            num_tokens=len(prefix_ids),
            max_tokens=n_positions - 1,
            field="prefix",
        )
    prompt = build_prompt(
        read.path,
        tokenizer,
        max_tokens=budget.num_prompt_tokens(n_positions, len(prefix_ids)),
        max_messages=budget.max_messages,
        dropped_before=read.dropped_before,
    )
    return PlaceTokens(prompt, prefix_ids, is_exact=False)


def _prefix(read: ReadPlace, tokenizer: Tokenizer, revision: str) -> tuple[tuple[int, ...], bool]:
    """The reply's tokens before the place, and whether they are the very ones that it was made of."""
    place, reply = read.place, read.reply
    if place.prefix is not None:
        return (prefix_of_text(place.prefix, tokenizer).token_ids if place.prefix else ()), False
    if reply is None:
        if place.num_reply_tokens:
            raise InvalidInputError("There is no reply that could have tokens.", field="num_reply_tokens")
        return (), False
    token_ids, is_own = reply_token_ids(reply, tokenizer, reply.message.model_revision == revision)
    count = place.num_reply_tokens if place.num_reply_tokens is not None else len(token_ids)
    if count > len(token_ids):
        raise InvalidInputError(
            f"num_reply_tokens must be at most {len(token_ids)}, the tokens of this reply.", field="num_reply_tokens"
        )
    return token_ids[:count], is_own
