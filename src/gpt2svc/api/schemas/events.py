"""The data of server-sent events, for the OpenAPI page: generation/events.py makes the real ones."""

from typing import Literal

from pydantic import BaseModel, Field

from gpt2svc.api.schemas.generations import TimingsOut
from gpt2svc.api.schemas.messages import UsageOut
from gpt2svc.api.schemas.settings import SettingsOut


class QueuedEvent(BaseModel):
    """`event: queued`, without an id: the reply is accepted and stored."""

    generation_id: str
    conversation_id: str
    message_id: str = Field(description="The assistant's message that is being written.")
    user_message_id: str
    position: int = Field(description="How many replies wait before this one.")
    prefix_text: str | None = Field(
        None, description="Only of a reply that is continued: its text before the first token event."
    )


class StartedEvent(BaseModel):
    """`event: started`, without an id: the model has read the prompt."""

    model: str
    model_revision: str
    prompt_tokens: int
    seed: int
    dropped_message_ids: list[str] = Field(description="Older messages that did not fit into the prompt.")
    settings: SettingsOut


class TopLogprob(BaseModel):
    token_id: int
    text: str
    logprob: float


class TokenEvent(BaseModel):
    """`event: token`, with `id: 1, 2, …`: the texts of all of them, joined, are the reply."""

    text: str = Field(description="May be empty: a token inside a character.")
    token_id: int
    logprob: float | None = Field(None, description="Only where the setting `logprobs` asks for it.")
    top_logprobs: list[TopLogprob] | None = Field(None, description="The likeliest tokens, likeliest first.")


class DoneEvent(BaseModel):
    """`event: done`, with an id: the reply is complete, or was cancelled; what there is of it is stored."""

    status: Literal["completed", "cancelled"]
    finish_reason: str | None
    usage: UsageOut
    timings: TimingsOut


class ErrorEvent(BaseModel):
    """`event: error`, with an id: the reply ended early. `num_tokens` of its token events are kept."""

    status: Literal["interrupted", "failed"]
    code: str = Field(description="Stable: `worker_crashed`, `server_stopped`, `model_unavailable`, …")
    message: str
    usage: UsageOut | None
    num_tokens: int


EVENT_SCHEMAS: tuple[type[BaseModel], ...] = (QueuedEvent, StartedEvent, TokenEvent, DoneEvent, ErrorEvent)
