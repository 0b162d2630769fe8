"""From a request's body to what is asked."""

from gpt2svc.api.schemas.openai_response_request import ResponseCreate
from gpt2svc.errors import InvalidInputError
from gpt2svc.generation.settings import SamplingSettings
from gpt2svc.persistence.ids import IdGenerator
from gpt2svc.persistence.records import InputItem
from gpt2svc.responses.request import ResponseRequest


def response_request(
    body: ResponseCreate, owner: str, idempotency_key: str | None, ids: IdGenerator
) -> ResponseRequest:
    """Raises InvalidInputError."""
    if idempotency_key is not None and not body.is_stored:
        raise InvalidInputError(
            "Idempotency-Key needs store: true: of this response nothing is kept that could be found again.",
            field="Idempotency-Key",
        )
    base = SamplingSettings()
    length = body.asked_length
    items = tuple(InputItem(ids.new_message_id(), role, text) for role, text in body.messages)
    return ResponseRequest(
        input=items,
        settings=body.sampling(
            base, num_new=base.max_new_tokens if length is None else length, logprobs=body.num_logprobs
        ),
        owner=owner,
        model=body.model,
        instructions=body.instructions,
        previous_response_id=body.previous_response_id,
        drops_oldest=body.truncation == "auto",
        is_length_asked=length is not None,
        length_field=body.length_name,
        is_detached=bool(body.background) or idempotency_key is not None,
        echo={
            "background": bool(body.background),
            "instructions": body.instructions,
            "max_output_tokens": length,
            "metadata": body.metadata or {},
            "parallel_tool_calls": body.parallel_tool_calls is not False,
            "prompt_cache_key": body.prompt_cache_key,
            "safety_identifier": body.safety_identifier,
            "tool_choice": body.tool_choice or "auto",
            "top_logprobs": body.top_logprobs or 0,
            "truncation": body.truncation or "disabled",
            "user": body.user,
        },
        idempotency_key=idempotency_key,
        body=body.given(),
    )
