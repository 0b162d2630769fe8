"""The rows of an accepted reply: its message and its generation, both queued."""

from gpt2svc.generation.job import GenerationJob
from gpt2svc.persistence.records import GenerationRecord
from gpt2svc.persistence.unit_of_work import UnitOfWork


async def store_reply(uow: UnitOfWork, job: GenerationJob, *, parent_id: str | None = None) -> GenerationRecord:
    """Write what `job` stands for, in the caller's transaction; `parent_id` is the message that it answers.

    Raises StorageError.
    """
    settings = job.settings.to_mapping()
    await uow.messages.create(
        conversation_id=job.conversation_id,
        role="assistant",
        content=job.prefix.text if job.prefix is not None else "",
        parent_id=parent_id,
        status="queued",
        message_id=job.message_id,
        generation_id=job.generation_id,
        settings=settings,
        model=job.model,
        model_revision=job.model_revision,
    )
    return await uow.generations.create(
        conversation_id=job.conversation_id,
        message_id=job.message_id,
        owner=job.owner,
        model=job.model,
        model_revision=job.model_revision,
        settings=settings,
        seed=job.seed,
        prompt_tokens=len(job.prompt_token_ids),
        dropped_message_ids=job.dropped_message_ids,
        prefix=job.prefix.tokens if job.prefix is not None else (),
        generation_id=job.generation_id,
    )
