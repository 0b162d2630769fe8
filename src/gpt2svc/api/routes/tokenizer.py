"""/tokenize, /detokenize and /tokenizer_info, at the root, where evaluation programs look for them."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Body, Query
from fastapi.openapi.models import Example

from gpt2svc.api.error_docs import BODY
from gpt2svc.api.openai.echo import echoed_texts
from gpt2svc.api.openai.error_docs import openai_error_responses
from gpt2svc.api.openai.errors import OpenAiRoute
from gpt2svc.api.schemas.tokenizer import DetokenizeIn, DetokenizeOut, TokenizeIn, TokenizeOut, TokenizerInfo
from gpt2svc.api.schemas.values import ModelName
from gpt2svc.api.services import ServicesDep
from gpt2svc.completions.chat_messages import CHAT_TEMPLATE
from gpt2svc.completions.token_text import token_text
from gpt2svc.errors import InvalidInputError

router = APIRouter(tags=["openai"], route_class=OpenAiRoute)

_TOKENIZE = {
    "text": Example(summary="Count", value={"prompt": "Hello there"}),
    "strings": Example(
        summary="With the tokens' texts, in Ukrainian", value={"prompt": "Добрий день", "return_token_strs": True}
    ),
}
_DETOKENIZE = {
    "ids": Example(summary="Two ids", value={"tokens": [39, 68]}),
    "none": Example(summary="None at all", value={"tokens": []}),
}


@router.post("/tokenize", summary="Text to token ids", responses=openai_error_responses(*BODY, 404, 503))
async def tokenize(services: ServicesDep, body: Annotated[TokenizeIn, Body(openapi_examples=_TOKENIZE)]) -> TokenizeOut:
    """As a prompt at `/v1/completions` is read. Contents of messages are read with `parse_special` false."""
    engine = services.engines.get(body.model)
    tokenizer = engine.tokenizer
    encode = tokenizer.encode_marked if body.parse_special else tokenizer.encode
    ids = await asyncio.to_thread(encode, body.prompt)
    return TokenizeOut(
        tokens=ids,
        count=len(ids),
        max_model_len=engine.n_positions,
        token_strs=[token_text(tokenizer, token_id) for token_id in ids] if body.return_token_strs else None,
    )


@router.post("/detokenize", summary="Token ids to text", responses=openai_error_responses(*BODY, 404, 503))
async def detokenize(
    services: ServicesDep, body: Annotated[DetokenizeIn, Body(openapi_examples=_DETOKENIZE)]
) -> DetokenizeOut:
    """The reverse of `/tokenize`."""
    engine = services.engines.get(body.model)
    tokenizer = engine.tokenizer
    info = engine.state.info
    # NOTE: a model may have more ids than its tokenizer has tokens, and sample them: those bring nothing.
    num_ids = max(tokenizer.vocab_size, info.vocab_size if info is not None else 0)
    largest = max(body.tokens, default=0)
    if largest >= num_ids:
        raise InvalidInputError(
            f"tokens holds the token id {largest}; this model's ids are 0 to {num_ids - 1}.", field="tokens"
        )
    return DetokenizeOut(prompt="".join(echoed_texts(tokenizer, body.tokens)))


@router.get("/tokenizer_info", summary="What the tokenizer is", responses=openai_error_responses(400, 404, 503))
async def tokenizer_info(
    services: ServicesDep,
    model: Annotated[ModelName | None, Query(description="One of `GET /v1/models`; left out, the default.")] = None,
) -> TokenizerInfo:
    """Its special tokens, and the format of chats."""
    engine = services.engines.get(model)
    tokenizer = engine.tokenizer
    spellings = {token_id: spelling for spelling, token_id in tokenizer.special_tokens.items()}
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    return TokenizerInfo(
        tokenizer_class="GPT2Tokenizer",
        vocab_size=tokenizer.vocab_size,
        model_max_length=engine.n_positions,
        bos_token=spellings.get(bos) if bos is not None else None,
        eos_token=spellings.get(eos) if eos is not None else None,
        pad_token=None,
        bos_token_id=bos,
        eos_token_id=eos,
        chat_template=tokenizer.chat_template.source if tokenizer.chat_template is not None else CHAT_TEMPLATE,
    )
