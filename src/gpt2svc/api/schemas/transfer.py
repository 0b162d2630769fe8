"""Exports and imports on the wire."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from gpt2svc.chat.transfer.export import ExportFormat
from gpt2svc.chat.transfer.importer import ImportedConversation, ImportStatus


class ExportQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    conversation_id: str | None = Field(None, max_length=64, description="Left out, all conversations.")
    format: ExportFormat = Field("json", description="`json` holds everything; `txt` is for reading.")


class ImportQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    dry_run: bool = Field(default=False, description="Only say what would happen.")


class ImportedOut(BaseModel):
    index: int = Field(description="Place in the file, from 0.")
    title: str | None
    num_messages: int
    status: ImportStatus
    conversation_id: str | None = Field(description="Of the new conversation, or of the one that is there already.")
    reason: str | None = Field(description="Why it is invalid.")

    @classmethod
    def of(cls, result: ImportedConversation) -> "ImportedOut":
        return cls(
            index=result.index,
            title=result.title,
            num_messages=result.num_messages,
            status=result.status,
            conversation_id=result.conversation_id,
            reason=result.reason,
        )


class ImportOut(BaseModel):
    object: Literal["import"] = "import"
    dry_run: bool
    num_imported: int
    num_duplicates: int
    num_invalid: int
    conversations: list[ImportedOut]

    @classmethod
    def of(cls, results: list[ImportedConversation], *, dry_run: bool) -> "ImportOut":
        def count(status: ImportStatus) -> int:
            return sum(result.status == status for result in results)

        return cls(
            dry_run=dry_run,
            num_imported=count("imported"),
            num_duplicates=count("duplicate"),
            num_invalid=count("invalid"),
            conversations=[ImportedOut.of(result) for result in results],
        )
