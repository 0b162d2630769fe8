"""Embeddings on the wire."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, Strict

from gpt2svc.api.schemas.openai_completions import TokenIds
from gpt2svc.api.schemas.openai_parameters import Label
from gpt2svc.api.schemas.values import AS_INT, ModelName, RequestBody, Text
from gpt2svc.chat.text_input import MAX_CONTENT_LENGTH
from gpt2svc.completions.embeddings import EmbeddingInput

MAX_INPUTS = 2048
MAX_DIMENSIONS = 65_536  # more than any model has

InputText = Annotated[Text, Field(min_length=1, max_length=MAX_CONTENT_LENGTH)]


class EmbeddingCreate(RequestBody):
    input: (
        InputText
        | TokenIds
        | Annotated[list[InputText], Field(min_length=1, max_length=MAX_INPUTS)]
        | Annotated[list[TokenIds], Field(min_length=1, max_length=MAX_INPUTS)]
    ) = Field(description="Text, or token ids, or a list of either. Each must fit the model's window.")
    model: ModelName | None = Field(None, description="One of `GET /v1/models`; left out, the service's default.")
    encoding_format: Literal["float", "base64"] | None = Field(
        None, description="`base64`: float32 in little-endian order, which OpenAI's clients ask for and read."
    )
    dimensions: Annotated[int, Strict(), Field(ge=1, le=MAX_DIMENSIONS), AS_INT] | None = Field(
        None, description="Only so many numbers of each vector, which then has length 1 again."
    )
    user: Label | None = Field(None, description="Accepted; nothing depends on it.")

    @property
    def inputs(self) -> list[EmbeddingInput]:
        given: Any = self.input
        if isinstance(given, str):
            return [given]
        if isinstance(given[0], int):
            return [tuple(given)]
        return [each if isinstance(each, str) else tuple(each) for each in given]


class EmbeddingOut(BaseModel):
    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str = Field(description="A string with `base64`.")


class EmbeddingUsage(BaseModel):
    prompt_tokens: int
    total_tokens: int


class EmbeddingList(BaseModel):
    object: Literal["list"] = "list"
    data: list[EmbeddingOut]
    model: str
    usage: EmbeddingUsage
