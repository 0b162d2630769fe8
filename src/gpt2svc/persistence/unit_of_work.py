"""One transaction's view of the store."""

from collections.abc import Callable
from datetime import datetime

from gpt2svc.persistence.api_keys import ApiKeyRepository
from gpt2svc.persistence.archive import ArchiveRepository
from gpt2svc.persistence.connection import Connection
from gpt2svc.persistence.conversations import ConversationRepository
from gpt2svc.persistence.generations import GenerationRepository
from gpt2svc.persistence.idempotency_keys import IdempotencyKeyRepository
from gpt2svc.persistence.ids import IdGenerator
from gpt2svc.persistence.messages import MessageRepository
from gpt2svc.persistence.responses import ResponseRepository


class UnitOfWork:
    """The repositories of one transaction: all of them see, and change, the same snapshot.

    Comes from `Database.read()` or is handed to the function given to `Database.write()`; use it only there, from one
    task, and await nothing but its repositories: a write transaction that waits for anything else stops every writer.
    """

    def __init__(self, connection: Connection, clock: Callable[[], datetime], ids: IdGenerator) -> None:
        self.conversations = ConversationRepository(connection, clock, ids)
        self.messages = MessageRepository(connection, clock, ids)
        self.generations = GenerationRepository(connection, clock, ids)
        self.responses = ResponseRepository(connection, clock)
        self.archive = ArchiveRepository(connection)
        self.idempotency_keys = IdempotencyKeyRepository(connection, clock)
        self.api_keys = ApiKeyRepository(connection, clock, ids)
