"""/api/next-token and /api/perplexity: what the model itself thinks, before any sampling setting."""

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Body, Header, Query, Request
from fastapi.openapi.models import Example
from starlette.responses import JSONResponse, Response

from gpt2svc.api.accept import prefers
from gpt2svc.api.disconnect import unless_disconnected
from gpt2svc.api.error_docs import BODY, error_responses
from gpt2svc.api.schemas.scoring import (
    MessageTokensOut,
    NextTokenIn,
    NextTokenOut,
    PerplexityIn,
    PerplexityOut,
    VocabularyOut,
)
from gpt2svc.api.schemas.values import ModelName
from gpt2svc.api.services import OwnerDep, ServicesDep
from gpt2svc.chat.next_token_prompt import PlaceInConversation
from gpt2svc.chat.scoring import NextTokenResult

router = APIRouter(prefix="/api", tags=["scoring"])

BINARY = "application/octet-stream"

_NEXT_EXAMPLES = {
    "english": Example(summary="After a text", value={"prompt": "Once upon a time", "top_n": 5}),
    "ukrainian": Example(summary="In Ukrainian", value={"prompt": "Доброго ранку", "top_n": 10}),
}
_PERPLEXITY_EXAMPLES = {
    "english": Example(summary="A sentence", value={"text": "The weather is nice today."}),
    "ukrainian": Example(
        summary="Token by token, in Ukrainian", value={"text": "Сьогодні гарна погода.", "token_logprobs": True}
    ),
}
_ERRORS = error_responses(*BODY, 404, 429, 503, 504)


@router.post(
    "/next-token",
    summary="What may come next?",
    response_model=NextTokenOut,
    response_description="The likeliest tokens; or the logarithms of all probabilities, a float32 each in "
    "little-endian order, by token id: `X-Vocab-Size` of them.",
    responses={200: {"content": {BINARY: {"schema": {"type": "string", "format": "binary"}}}}, **_ERRORS},
)
async def next_token(
    services: ServicesDep,
    owner: OwnerDep,
    request: Request,
    body: Annotated[NextTokenIn, Body(openapi_examples=_NEXT_EXAMPLES)],
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> Response:
    """The model's own distribution after a text, or at any place of a conversation. Nothing is stored.

    With `Accept: application/octet-stream` or `"full": true` the answer is the whole of it in binary, with the headers
    `X-Vocab-Size`, `X-Prompt-Tokens`, `X-Entropy`, `X-Model` (percent-encoded), `X-Model-Revision` and
    `X-Log-Normalizer`: a token's logit, on which repetition penalties act, is its log-probability plus that.
    """
    is_full = body.full or prefers(BINARY, accept)

    async def answer() -> Response:
        result = await services.scoring.next_token(
            owner, body.subject(), model=body.model, num_top=body.top_n, has_distribution=is_full
        )
        distribution = result.next_token.distribution
        if distribution is None:
            return JSONResponse(NextTokenOut.of(result).model_dump(mode="json"))
        return Response(distribution, headers=_distribution_headers(result, len(distribution) // 4), media_type=BINARY)

    return await unless_disconnected(request, answer())


@router.get(
    "/conversations/{conversation_id}/messages/{message_id}/tokens",
    summary="What did the model read?",
    responses=error_responses(404, 422, 503),
)
async def message_tokens(
    services: ServicesDep, owner: OwnerDep, conversation_id: str, message_id: str
) -> MessageTokensOut:
    """The prompt as it was sent, and the reply's tokens. Of a user's message: the prompt of a reply to it, as it would
    be sent now. What each token stands for is in `GET /api/vocabulary`.
    """
    return MessageTokensOut.of(await services.scoring.tokens(owner, PlaceInConversation(conversation_id, message_id)))


@router.get("/vocabulary", summary="List a model's tokens", responses=error_responses(404, 422, 503))
async def vocabulary(
    services: ServicesDep,
    owner: OwnerDep,
    model: Annotated[ModelName | None, Query(description="Left out: the service's default.")] = None,
) -> VocabularyOut:
    """What each token stands for alone."""
    name, revision, texts = await services.scoring.vocabulary(model)
    return VocabularyOut(model=name, model_revision=revision, tokens=texts)


@router.post("/perplexity", summary="How likely is a text?", response_model=PerplexityOut, responses=_ERRORS)
async def perplexity(
    services: ServicesDep,
    owner: OwnerDep,
    request: Request,
    body: Annotated[PerplexityIn, Body(openapi_examples=_PERPLEXITY_EXAMPLES)],
) -> Response:
    """Every token but the first is scored once, given those before it. A text longer than the model's window is read in
    windows that overlap by half (`stride`), so that each scored token has at least half a window before it.
    """

    async def answer() -> Response:
        result = await services.scoring.perplexity(owner, body.text, model=body.model)
        return JSONResponse(PerplexityOut.of(result, with_tokens=body.token_logprobs).model_dump(mode="json"))

    return await unless_disconnected(request, answer())


def _distribution_headers(result: NextTokenResult, vocab_size: int) -> dict[str, str]:
    return {
        "X-Log-Normalizer": repr(result.next_token.log_normalizer),
        "X-Vocab-Size": str(vocab_size),
        "X-Prompt-Tokens": str(result.num_prompt_tokens),
        "X-Entropy": repr(result.next_token.entropy),
        "X-Model": quote(result.model, safe="/@:"),
        "X-Model-Revision": result.model_revision,
    }
