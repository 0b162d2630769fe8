"""Generations on the wire: replies in the making or made."""

from datetime import datetime

from pydantic import BaseModel, Field

from gpt2svc.api.schemas.messages import UsageOut
from gpt2svc.api.schemas.settings import SettingsOut
from gpt2svc.persistence.records import GenerationRecord, Status


class TimingsOut(BaseModel):
    """Seconds, and the rate of the reply's tokens."""

    queued: float | None = Field(None, description="From acceptance until the engine took it up.")
    prefill: float | None = Field(None, description="From then to the first token.")
    total: float | None = Field(None, description="From acceptance to the end.")
    tokens_per_second: float | None = None


class GenerationOut(BaseModel):
    id: str
    conversation_id: str
    message_id: str = Field(description="The assistant's message that it writes.")
    status: Status
    model: str
    model_revision: str
    settings: SettingsOut
    seed: int
    prompt_tokens: int
    dropped_message_ids: list[str] = Field(description="Older messages that did not fit into the prompt.")
    num_tokens: int = Field(description="Number of the last token event that is stored.")
    usage: UsageOut | None
    timings: TimingsOut | None
    finish_reason: str | None
    error_code: str | None
    error: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(cls, record: GenerationRecord) -> "GenerationOut":
        return cls(
            id=record.id,
            conversation_id=record.conversation_id,
            message_id=record.message_id,
            status=record.status,
            model=record.model,
            model_revision=record.model_revision,
            settings=SettingsOut.of(record.settings),
            seed=record.seed,
            prompt_tokens=record.prompt_tokens,
            dropped_message_ids=list(record.dropped_message_ids),
            num_tokens=record.last_seq,
            usage=UsageOut.model_validate(record.usage) if record.usage else None,
            timings=TimingsOut.model_validate(record.timings) if record.timings else None,
            finish_reason=record.finish_reason,
            error_code=record.error_code,
            error=record.error,
            created_at=record.created_at,
            started_at=record.started_at,
            finished_at=record.finished_at,
        )
