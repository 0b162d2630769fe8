"""/v1/chat/completions, as OpenAI's clients call it: stateless, streamed or whole."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Body, Request
from fastapi.openapi.models import Example
from starlette.responses import Response

from gpt2svc.api.error_docs import BODY
from gpt2svc.api.openai.answer import answer
from gpt2svc.api.openai.chat_answer import ChatAnswer
from gpt2svc.api.openai.error_docs import openai_error_responses
from gpt2svc.api.openai.errors import OpenAiRoute
from gpt2svc.api.openai.stream import stream_docs
from gpt2svc.api.schemas.openai_chat import (
    ChatCompletionChunk,
    ChatCompletionCreate,
    ChatCompletionOut,
    ChatPrompt,
    MessageTokens,
    RenderedPrompt,
)
from gpt2svc.api.services import OwnerDep, Services, ServicesDep
from gpt2svc.chat.prompt import TURN_LABELS
from gpt2svc.completions.chat_messages import ChatMessages, render
from gpt2svc.completions.completion import Completion
from gpt2svc.completions.service import CompletionRequest
from gpt2svc.generation.settings import SamplingSettings
from gpt2svc.models.tokenizer import Tokenizer

router = APIRouter(prefix="/v1/chat/completions", tags=["openai"], route_class=OpenAiRoute)

_HELLO = [{"role": "user", "content": "Hello! Who are you?"}]
_EXAMPLES = {
    "whole": Example(summary="A question", value={"messages": _HELLO}),
    "stream": Example(
        summary="Streamed, with usage",
        value={"messages": _HELLO, "stream": True, "stream_options": {"include_usage": True}},
    ),
    "exact": Example(
        summary="Repeatable, short, with log-probabilities",
        value={"messages": _HELLO, "seed": 42, "max_tokens": 20, "stop": ["\n"], "logprobs": True, "top_logprobs": 3},
    ),
}
_RENDER_EXAMPLES = {
    "one": Example(summary="A question", value={"messages": _HELLO}),
    "system": Example(
        summary="With a system message",
        value={"messages": [{"role": "system", "content": "Be brief."}, *_HELLO], "truncation": "auto"},
    ),
}


@router.post(
    "",
    summary="Complete a chat",
    response_model=ChatCompletionOut,
    response_description="The whole reply as JSON; with `stream`, its chunks, and `[DONE]` after success.",
    responses={
        200: {"content": {"text/event-stream": stream_docs(ChatCompletionChunk)}},
        **openai_error_responses(*BODY, 404, 429, 503, 504),
    },
)
async def create_chat_completion(
    services: ServicesDep,
    owner: OwnerDep,
    request: Request,
    body: Annotated[ChatCompletionCreate, Body(openapi_examples=_EXAMPLES)],
) -> Response:
    """Nothing is stored, and a client that leaves stops the work. The conversation is rendered as
    `POST /v1/chat/completions/render` shows it. Sampling defaults are this service's own, since small models need them:
    `GET /v1/models/{id}` lists every parameter with its limits and default. What is not supported is refused by name.
    """
    body.check()
    tokens_asked = body.asked_length
    base = SamplingSettings()
    num_new = base.max_new_tokens if tokens_asked is None else tokens_asked
    asked = CompletionRequest(
        prompts=(_messages(services, body),),
        settings=body.sampling(base, num_new=num_new, logprobs=body.num_logprobs),
        model=body.model,
        owner=owner,
        num_choices=body.n or 1,
        is_length_asked=tokens_asked is not None,
        length_field=body.length_name,
        turn_labels=TURN_LABELS,
    )

    def answer_of(completion: Completion) -> ChatAnswer:
        return ChatAnswer(completion, has_logprobs=bool(body.logprobs), includes_usage=body.includes_usage)

    return await answer(services, request, asked, answer_of, is_stream=bool(body.stream))


@router.post("/render", summary="Show a chat's prompt", responses=openai_error_responses(*BODY, 404, 503))
async def render_chat(
    services: ServicesDep, body: Annotated[ChatPrompt, Body(openapi_examples=_RENDER_EXAMPLES)]
) -> RenderedPrompt:
    """The text and the tokens that the model gets for these messages, and what is left of its window. Nothing is
    generated. Lines within a message that look like the beginning of a turn get one space in front.
    """
    body.check_messages()
    engine = services.engines.get(body.model)
    messages = _messages(services, body)
    rendered = await asyncio.to_thread(render, messages, engine.tokenizer, engine.n_positions)
    return RenderedPrompt(
        prompt=rendered.text,
        token_ids=list(rendered.token_ids),
        num_tokens=len(rendered.token_ids),
        messages=[MessageTokens(index=i, role=role, num_tokens=n) for i, role, n in rendered.messages],
        n_positions=engine.n_positions,
        num_remaining=max(0, engine.n_positions - len(rendered.token_ids)),
        dropped_messages=rendered.num_dropped,
        model=engine.state.model,
        stop=_stop(engine.tokenizer),
    )


def _stop(tokenizer: Tokenizer) -> list[str]:
    """What ends a reply, beside the end-of-text token and the request's own strings."""
    template = tokenizer.chat_template
    if template is None:
        return list(TURN_LABELS)
    spellings = {token_id: spelling for spelling, token_id in tokenizer.special_tokens.items()}
    markers = template.markers
    return [*markers.turn_labels, *markers.stop, *[spellings[token_id] for token_id in markers.end_token_ids]]


def _messages(services: Services, body: ChatPrompt) -> ChatMessages:
    return ChatMessages(
        tuple(message.message() for message in body.messages),
        drops_oldest=body.truncation == "auto",
        max_messages=services.settings.prompt_max_messages,
        max_prompt_tokens=services.settings.prompt_max_tokens,
    )
