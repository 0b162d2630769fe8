"""/v1/embeddings, as OpenAI's clients call it."""

import asyncio
import base64
import json
import struct
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request
from fastapi.openapi.models import Example
from starlette.responses import Response

from gpt2svc.api.disconnect import unless_disconnected
from gpt2svc.api.error_docs import BODY
from gpt2svc.api.openai.error_docs import openai_error_responses
from gpt2svc.api.openai.errors import OpenAiRoute
from gpt2svc.api.schemas.openai_embeddings import EmbeddingCreate, EmbeddingList
from gpt2svc.api.services import OwnerDep, ServicesDep
from gpt2svc.completions.embeddings import Embeddings

router = APIRouter(prefix="/v1/embeddings", tags=["openai"], route_class=OpenAiRoute)

_EXAMPLES = {
    "text": Example(summary="A text", value={"input": "The sky is blue.", "encoding_format": "float"}),
    "batch": Example(summary="Several, in base64", value={"input": ["Hello!", "Привіт!"], "encoding_format": "base64"}),
}


@router.post(
    "",
    summary="Turn texts into vectors",
    response_model=EmbeddingList,
    responses=openai_error_responses(*BODY, 404, 429, 503, 504),
)
async def create_embeddings(
    services: ServicesDep,
    owner: OwnerDep,
    request: Request,
    body: Annotated[EmbeddingCreate, Body(openapi_examples=_EXAMPLES)],
) -> Response:
    """The mean of the text's last hidden states, after the final norm, scaled to length 1. Nothing is stored, and a
    client that leaves stops the work. GPT-2 models were not trained for this: texts that mean the same come out near
    each other only roughly.
    """

    async def answer() -> Response:
        found = await services.embeddings.embed(
            body.inputs, model=body.model, owner=owner, num_dimensions=body.dimensions
        )
        # NOTE: off the event loop: thousands of vectors are millions of numbers.
        content = await asyncio.to_thread(_content, found, is_base64=body.encoding_format == "base64")
        return Response(content, media_type="application/json")

    return await unless_disconnected(request, answer())


def _content(found: Embeddings, *, is_base64: bool) -> bytes:
    data = [
        {"object": "embedding", "index": index, "embedding": _packed(vector) if is_base64 else vector}
        for index, vector in enumerate(found.vectors)
    ]
    usage = {"prompt_tokens": found.num_tokens, "total_tokens": found.num_tokens}
    answer: dict[str, Any] = {"object": "list", "data": data, "model": found.model, "usage": usage}
    return json.dumps(answer, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _packed(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")
