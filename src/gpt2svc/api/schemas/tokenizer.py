"""The tokenizer on the wire."""

from typing import Annotated

from pydantic import BaseModel, Field, Strict

from gpt2svc.api.schemas.openai_completions import TokenId
from gpt2svc.api.schemas.values import ModelName, RequestBody

MAX_TOKENS = 100_000


class TokenizeIn(RequestBody):
    prompt: Annotated[str, Strict()] = Field(description="The text.")
    model: ModelName | None = Field(None, description="One of `GET /v1/models`; left out, the default.")
    add_special_tokens: Annotated[bool, Strict()] | None = Field(
        None, description="Either way the same: these models' tokenizers add none."
    )
    parse_special: Annotated[bool, Strict()] = Field(
        True, description="Whether the spelling of a special token (`<|endoftext|>`) stands for that token."
    )
    return_token_strs: Annotated[bool, Strict()] | None = Field(None, description="Send the tokens' texts too.")


class TokenizeOut(BaseModel):
    tokens: list[int]
    count: int
    max_model_len: int = Field(description="The model's window in tokens.")
    token_strs: list[str] | None = Field(description="`bytes:\\xNN…` for a part of a character.")


class DetokenizeIn(RequestBody):
    tokens: Annotated[list[TokenId], Field(max_length=MAX_TOKENS)]
    model: ModelName | None = Field(None, description="One of `GET /v1/models`; left out, the default.")


class DetokenizeOut(BaseModel):
    prompt: str = Field(description="The text, special tokens spelled out; U+FFFD for bytes that are no UTF-8.")


class TokenizerInfo(BaseModel):
    tokenizer_class: str
    vocab_size: int
    model_max_length: int
    bos_token: str | None
    eos_token: str | None
    pad_token: None = Field(description="None: prompts of any length need no padding here.")
    bos_token_id: int | None
    eos_token_id: int | None
    chat_template: str = Field(description="Jinja, for who renders chats alone: the format of chat completions.")
