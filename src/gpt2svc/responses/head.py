"""What is known of a response before its first token, and does not change."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gpt2svc.persistence.records import GenerationRecord, ResponseRecord


@dataclass(frozen=True, slots=True)
class ResponseHead:
    id: str
    message_id: str  # of its one output item
    created_at: datetime
    model: str
    model_revision: str
    settings: Mapping[str, Any]  # complete
    seed: int
    previous_response_id: str | None
    request: Mapping[str, Any]
    num_dropped: int  # oldest messages that did not fit
    is_stored: bool

    @classmethod
    def of(cls, response: ResponseRecord, generation: GenerationRecord) -> "ResponseHead":
        return cls(
            id=response.id,
            message_id=generation.message_id,
            created_at=response.created_at,
            model=generation.model,
            model_revision=generation.model_revision,
            settings=generation.settings,
            seed=generation.seed,
            previous_response_id=response.previous_response_id,
            request=response.request,
            num_dropped=len(generation.dropped_message_ids),
            is_stored=True,
        )
