"""A response on the wire, as OpenAI's clients read it, and the events of its stream."""

from typing import Any, Literal

from pydantic import BaseModel, Field

ResponseStatus = Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]


class TopLogprobOut(BaseModel):
    token: str
    bytes: list[int]
    logprob: float


class LogprobOut(TopLogprobOut):
    top_logprobs: list[TopLogprobOut]


class OutputText(BaseModel):
    type: Literal["output_text"] = "output_text"
    text: str
    annotations: list[Any] = []
    logprobs: list[LogprobOut] = []


class OutputMessage(BaseModel):
    type: Literal["message"] = "message"
    id: str
    status: Literal["in_progress", "completed", "incomplete"]
    role: Literal["assistant"] = "assistant"
    content: list[OutputText]


class InputText(BaseModel):
    type: Literal["input_text", "output_text"]
    text: str
    annotations: list[Any] | None = Field(None, description="Of `output_text`.")


class InputItemOut(BaseModel):
    type: Literal["message"] = "message"
    id: str
    status: Literal["completed"] = "completed"
    role: Literal["system", "developer", "user", "assistant"]
    content: list[InputText]


class InputItemList(BaseModel):
    object: Literal["list"] = "list"
    data: list[InputItemOut]
    has_more: bool
    first_id: str | None
    last_id: str | None


class ResponseErrorOut(BaseModel):
    code: str
    message: str


class IncompleteDetails(BaseModel):
    reason: Literal["max_output_tokens"]


class InputTokensDetails(BaseModel):
    cached_tokens: int = Field(description="Prompt tokens that an earlier request had left in the cache.")
    cache_write_tokens: int = 0


class OutputTokensDetails(BaseModel):
    reasoning_tokens: int = 0


class ResponseUsageOut(BaseModel):
    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails
    total_tokens: int


class ResponseOut(BaseModel):
    id: str
    object: Literal["response"] = "response"
    created_at: int
    completed_at: int | None = None
    status: ResponseStatus
    background: bool
    store: bool
    error: ResponseErrorOut | None = Field(None, description="Of a `failed` one; what there is of its text is kept.")
    incomplete_details: IncompleteDetails | None = None
    instructions: str | None
    max_output_tokens: int | None
    model: str
    output: list[OutputMessage]
    previous_response_id: str | None
    temperature: float
    top_p: float
    top_logprobs: int
    truncation: Literal["auto", "disabled"]
    usage: ResponseUsageOut | None = Field(None, description="Once it has ended.")
    metadata: dict[str, str]
    user: str | None
    safety_identifier: str | None
    prompt_cache_key: str | None
    service_tier: Literal["default"] = "default"
    parallel_tool_calls: bool
    tool_choice: Literal["auto", "none"]
    tools: list[Any] = []
    text: dict[str, Any]
    reasoning: None = None
    system_fingerprint: str = Field(description="Changes with the model's weights.")
    seed: int = Field(description="Sent again as `seed`, it brings this reply again.")
    dropped_messages: int = Field(description="Oldest messages that were left out (`truncation: auto`).")


class ResponseDeleted(BaseModel):
    id: str
    object: Literal["response"] = "response"
    deleted: Literal[True] = True


class ResponseStreamEvent(BaseModel):
    """One event. By its type it has `response`, or `item`, or `part`, or `delta`, or `text`, and where that belongs."""

    type: Literal[
        "response.created",
        "response.queued",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
        "response.incomplete",
        "response.failed",
        "error",
    ]
    sequence_number: int = Field(description="From 0, without gaps: the cursor for `starting_after`.")
    response: ResponseOut | None = None
    item: OutputMessage | None = None
    part: OutputText | None = None
    item_id: str | None = None
    output_index: int | None = None
    content_index: int | None = None
    delta: str | None = None
    text: str | None = None
    logprobs: list[dict[str, Any]] | None = None
    code: str | None = None
    message: str | None = None
    param: str | None = None
