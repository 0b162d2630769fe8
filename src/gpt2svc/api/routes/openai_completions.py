"""/v1/completions: text goes on from a prompt, with everything that the endpoint was ever able to do."""

from typing import Annotated

from fastapi import APIRouter, Body, Request
from fastapi.openapi.models import Example
from starlette.responses import JSONResponse, Response

from gpt2svc.api.disconnect import unless_disconnected
from gpt2svc.api.error_docs import BODY
from gpt2svc.api.openai.answer import answer
from gpt2svc.api.openai.completion_answer import CompletionAnswer
from gpt2svc.api.openai.error_docs import openai_error_responses
from gpt2svc.api.openai.errors import OpenAiRoute
from gpt2svc.api.openai.stream import stream_docs
from gpt2svc.api.schemas.openai_completions import (
    DEFAULT_MAX_TOKENS,
    NEUTRAL_SETTINGS,
    CompletionCreate,
    CompletionOut,
)
from gpt2svc.api.services import OwnerDep, ServicesDep
from gpt2svc.completions.completion import Completion
from gpt2svc.completions.service import CompletionRequest

router = APIRouter(prefix="/v1/completions", tags=["openai"], route_class=OpenAiRoute)

_EXAMPLES = {
    "text": Example(summary="Go on with a text", value={"prompt": "Once upon a time", "max_tokens": 32}),
    "batch": Example(
        summary="Two prompts, two texts each, streamed",
        value={"prompt": ["The sea", "The sky"], "n": 2, "stream": True, "seed": 7},
    ),
    "suffix": Example(
        summary="What may stand between two texts",
        value={"prompt": "The sky is", "suffix": " and the sea is wide.", "max_tokens": 6, "best_of": 4},
    ),
    "score": Example(
        summary="Only read the prompt, and send its log-probabilities",
        value={"prompt": "The sky is blue", "echo": True, "logprobs": 1, "max_tokens": 0},
    ),
}


@router.post(
    "",
    summary="Complete a text",
    response_model=CompletionOut,
    response_description="The texts as JSON; with `stream`, their chunks, and `[DONE]` after success.",
    responses={
        200: {"content": {"text/event-stream": stream_docs(CompletionOut)}},
        **openai_error_responses(*BODY, 404, 429, 503, 504),
    },
)
async def create_completion(
    services: ServicesDep,
    owner: OwnerDep,
    request: Request,
    body: Annotated[CompletionCreate, Body(openapi_examples=_EXAMPLES)],
) -> Response:
    """Plain text in, plain text out: no labels, no trimming, and by default the model's own distribution (temperature
    1, no filter, no penalty). Nothing is stored, and a client that leaves stops the work. Choices of a batch come in
    the order of its prompts, `n` for each; in a stream their chunks mix, told apart by `index`.
    """
    body.check()
    tokens_asked = body.asked_length
    is_prompt_only = tokens_asked == 0
    num_new = DEFAULT_MAX_TOKENS if tokens_asked is None else max(1, tokens_asked)
    num_sequences = body.num_sequences
    # What best_of compares is in the log-probabilities.
    logprobs = body.logprobs if num_sequences == body.num_choices else body.logprobs or 0
    asked = CompletionRequest(
        prompts=body.prompts,
        settings=body.sampling(NEUTRAL_SETTINGS, num_new=num_new, logprobs=logprobs),
        model=body.model,
        owner=owner,
        num_choices=num_sequences,
        is_length_asked=tokens_asked is not None,
        length_field=body.length_name,
        is_prompt_only=is_prompt_only,
        num_prompt_logprobs=body.logprobs if body.echo else None,
    )

    def answer_of(completion: Completion) -> CompletionAnswer:
        return CompletionAnswer(
            completion,
            num_choices=body.num_choices,
            is_echoed=bool(body.echo),
            has_logprobs=body.logprobs is not None,
            includes_usage=body.includes_usage,
        )

    suffix = body.suffix
    if not suffix:
        return await answer(services, request, asked, answer_of, is_stream=bool(body.stream))

    async def filled() -> Response:
        completion, result = await services.infilling.fill(asked, suffix, body.num_choices)
        return JSONResponse(answer_of(completion).whole(result))

    return await unless_disconnected(request, filled())
