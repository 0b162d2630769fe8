"""Every error that the package raises on purpose.

    Gpt2svcError
    ├── InvalidInputError           a value is wrong: names the field and the limit
    │   ├── ContextWindowError      the prompt can't fit the window: carries both numbers
    │   └── IdempotencyMismatchError  the same Idempotency-Key came with another body
    ├── NotFoundError               no such conversation, message, generation or model
    ├── ConversationBusyError       the conversation already has a reply in progress: names it
    ├── OverloadedError             admission is full: says when to come back
    ├── UnavailableError            the model is loading, restarting or has failed to load
    ├── DeadlineExceededError       the client's own deadline has passed
    ├── EngineError                 a step of the engine failed
    │   └── WorkerCrashedError      the worker process died while it held the request
    ├── ModelError                  a model can't be used
    │   ├── ModelFormatError        its folder is broken: a file is missing, truncated or of another shape
    │   ├── ModelTaskError          it was made for another task: it classifies, or has no head to choose by
    │   ├── UnsafeModelError        it holds pickle weights or asks for remote code
    │   └── ModelDownloadError      the hub could not be reached or what it sent is not what was asked for
    ├── StorageError                the database can't be used
    │   ├── StorageInUseError       another process holds it
    │   ├── SchemaTooNewError       written by a newer release
    │   ├── ForeignDatabaseError    it belongs to another program
    │   └── StorageFullError        the disk is full
    └── ConfigError                 a setting is wrong: names it and where it came from

Each carries a stable `code` for programs and a message for people. HTTP statuses are not decided here but in one table
in `api/errors.py`; the command line maps each to an exit code in `cli/errors.py`.
"""


class Gpt2svcError(Exception):
    """Base of the tree. `field` names the input at fault, in the words of the interface it came through."""

    code = "internal_error"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class InvalidInputError(Gpt2svcError):
    code = "invalid_input"


class ContextWindowError(InvalidInputError):
    """The prompt has `num_tokens` tokens where at most `max_tokens` fit."""

    code = "context_length_exceeded"

    def __init__(self, message: str, *, num_tokens: int, max_tokens: int, field: str | None = None) -> None:
        super().__init__(message, field=field)
        self.num_tokens = num_tokens
        self.max_tokens = max_tokens


class IdempotencyMismatchError(InvalidInputError):
    code = "idempotency_mismatch"


class NotFoundError(Gpt2svcError):
    """Nothing of that kind has this id. `kind`: "conversation", "message", "generation", "response", "model", "key"."""

    code = "not_found"

    def __init__(self, kind: str, identifier: str, *, field: str | None = None) -> None:
        super().__init__(f"No {kind} has the id {identifier!r}.", field=field or f"{kind}_id")
        self.kind = kind
        self.identifier = identifier


class ConversationBusyError(Gpt2svcError):
    """One active reply a conversation: `generation_id` is the one in progress."""

    code = "conversation_busy"

    def __init__(self, conversation_id: str, generation_id: str) -> None:
        super().__init__(
            f"Conversation {conversation_id} already has a reply in progress ({generation_id}). "
            "Wait for it, or cancel it, before sending the next message."
        )
        self.conversation_id = conversation_id
        self.generation_id = generation_id


class OverloadedError(Gpt2svcError):
    """Admission is full. `retry_after_s` is an estimate in seconds of when a place will be free."""

    code = "overloaded"

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class UnavailableError(Gpt2svcError):
    """The model can't answer now. `retry_after_s` is None where waiting alone won't help."""

    code = "model_unavailable"

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DeadlineExceededError(Gpt2svcError):
    code = "deadline_exceeded"


class EngineError(Gpt2svcError):
    code = "engine_error"


class WorkerCrashedError(EngineError):
    code = "worker_crashed"


class ModelError(Gpt2svcError):
    code = "model_error"


class ModelFormatError(ModelError):
    code = "model_format"


class ModelTaskError(ModelError):
    code = "wrong_model_task"


class UnsafeModelError(ModelError):
    code = "model_unsafe"


class ModelDownloadError(ModelError):
    code = "model_download"


class StorageError(Gpt2svcError):
    code = "storage_error"


class StorageInUseError(StorageError):
    code = "storage_in_use"


class SchemaTooNewError(StorageError):
    code = "schema_too_new"


class ForeignDatabaseError(StorageError):
    code = "foreign_database"


class StorageFullError(StorageError):
    code = "storage_full"


class ConfigError(Gpt2svcError):
    code = "config_error"
