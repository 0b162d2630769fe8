"""One turn: the user's message goes in, a reply begins."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class AcceptedTurn:
    """Stored: the user's message and the row of a reply that is (or was, when replayed) being made."""

    generation_id: str
    message_id: str  # the assistant's
    user_message_id: str
    replayed: bool  # the Idempotency-Key was known: this is the first call's turn


class TurnService:
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
        raise NotImplementedError
