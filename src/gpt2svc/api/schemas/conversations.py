"""Conversations on the wire."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field

from gpt2svc.api.schemas.settings import SettingsIn, SettingsOut
from gpt2svc.api.schemas.values import FilledText, ModelName, RequestBody
from gpt2svc.chat.text_input import MAX_TITLE_INPUT_LENGTH
from gpt2svc.persistence.records import ConversationRecord

Title = Annotated[FilledText, Field(max_length=MAX_TITLE_INPUT_LENGTH)]


class ConversationCreate(RequestBody):
    title: Title | None = Field(None, description="Left out, the first message gives the title.")
    model: ModelName | None = Field(
        None, description="One of `GET /api/models`; left out, the service's default.", examples=["starter"]
    )
    settings: SettingsIn | None = Field(None, description="For every reply in this conversation.")


class ConversationUpdate(ConversationCreate):
    """What is left out stays as it is; null puts the default back. Settings are merged one by one."""

    def changes(self) -> dict[str, Any]:
        changes: dict[str, Any] = {name: getattr(self, name) for name in self.model_fields_set}
        if self.settings is not None:
            changes["settings"] = self.settings.given()
        return changes


class ConversationOut(BaseModel):
    id: str
    title: str | None = Field(description="Null until the first message.")
    model: str | None = Field(description="Null: the service's default model.")
    settings: SettingsOut = Field(description="What the next reply uses, defaults included.")
    num_messages: int
    created_at: datetime
    updated_at: datetime = Field(description="Of the last message or change.")

    @classmethod
    def of(cls, record: ConversationRecord) -> "ConversationOut":
        return cls(
            id=record.id,
            title=record.title,
            model=record.model,
            settings=SettingsOut.of(record.settings),
            num_messages=record.num_messages,
            created_at=record.created_at,
            updated_at=record.updated_at,
        )
