"""Models, as OpenAI's clients list them."""

from typing import Any, Literal

from pydantic import BaseModel, Field


class OpenAiModel(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int = Field(description="When its files came onto this machine.")
    owned_by: str = "gpt2svc"
    status: str = Field(description="Of its worker; `available` where the first request that names it loads it.")
    context_window: int | None = Field(description="Tokens of prompt and reply together.")
    system_fingerprint: str | None = Field(description="What answers carry; changes with the weights.")


class ParameterOut(BaseModel):
    support: Literal["honoured", "accepted", "unsupported"] = Field(
        description="`accepted`: passes where it asks for nothing, and changes nothing. `unsupported`: 400."
    )
    minimum: int | float | None
    maximum: int | float | None
    default: Any = Field(description="Null: as it says, or none.")
    note: str


class OpenAiModelDetails(OpenAiModel):
    parameters: dict[str, dict[str, ParameterOut]] = Field(
        description="By endpoint (`chat.completions`, `responses`, …) and name: the truth about each."
    )


class OpenAiModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[OpenAiModel]
