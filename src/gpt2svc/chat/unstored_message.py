"""A message that no store holds, as prompts are made of stored ones: it is to be stored later, or never."""

from datetime import UTC, datetime

from gpt2svc.persistence.records import MessageRecord, Role


def unstored_message(
    role: Role, content: str, *, message_id: str = "", conversation_id: str = "", parent_id: str | None = None
) -> MessageRecord:
    return MessageRecord(
        id=message_id,
        conversation_id=conversation_id,
        parent_id=parent_id,
        role=role,
        content=content,
        status="completed",
        generation_id=None,
        settings=None,
        model=None,
        model_revision=None,
        usage=None,
        finish_reason=None,
        error=None,
        created_at=datetime.now(UTC),
    )
