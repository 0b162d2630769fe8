"""Chat completions on the wire, as OpenAI's clients write and read them."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field, Strict

from gpt2svc.api.schemas.openai_parameters import EmptyList, NeutralFields
from gpt2svc.api.schemas.openai_sampling import NewTokens, OpenAiSampling
from gpt2svc.api.schemas.values import AS_INT, ModelName, RequestBody, Text
from gpt2svc.chat.text_input import MAX_CONTENT_LENGTH
from gpt2svc.completions.chat_messages import ChatMessage, ChatRole
from gpt2svc.errors import InvalidInputError
from gpt2svc.generation.settings import MAX_LOGPROBS

MAX_MESSAGES = 2048

Content = Annotated[Text, Field(max_length=MAX_CONTENT_LENGTH)]


class TextPart(RequestBody):
    type: Literal["text"]
    text: Content


class MessageIn(RequestBody):
    """System and developer messages stand as plain text before the first turn."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Content | list[TextPart] | None = Field(
        None, description="Text, or parts of type `text`, which are joined. Null only for the assistant."
    )
    name: None = None
    refusal: None = None
    audio: None = None
    function_call: None = None
    tool_calls: EmptyList | None = None
    annotations: EmptyList | None = None

    def message(self) -> ChatMessage:
        content = self.content or ""
        text = content if isinstance(content, str) else "".join(part.text for part in content)
        role: ChatRole = "system" if self.role == "developer" else self.role
        return ChatMessage(role, text)


class ChatPrompt(RequestBody):
    model: ModelName | None = Field(None, description="One of `GET /v1/models`; left out, the default.")
    messages: Annotated[list[MessageIn], Field(min_length=1, max_length=MAX_MESSAGES)]
    truncation: Literal["auto", "disabled"] | None = Field(
        None,
        description="What happens to messages that don't fit the model's window. `disabled`, the default: the request "
        "is refused with `context_length_exceeded`. `auto`: whole turns drop from the front, by the budget that "
        "conversations have; `dropped_messages` in the answer says how many messages that were.",
    )

    def check_messages(self) -> None:
        """Raises InvalidInputError."""
        for index, message in enumerate(self.messages):
            if message.content is None and message.role != "assistant":
                raise InvalidInputError(f"messages.{index}.content is required.", field=f"messages.{index}.content")


class ChatCompletionCreate(ChatPrompt, OpenAiSampling, NeutralFields):
    max_completion_tokens: NewTokens | None = Field(None, description="The reply's length in tokens at most.")
    max_tokens: NewTokens | None = Field(None, description="An older name of `max_completion_tokens`.")
    logprobs: Annotated[bool, Strict()] | None = Field(None, description="Send each token's log-probability.")
    top_logprobs: Annotated[int, Strict(), Field(ge=0, le=MAX_LOGPROBS), AS_INT] | None = Field(
        None, description="Send so many of the likeliest tokens with each; needs `logprobs: true`."
    )

    def check(self) -> None:
        super().check()
        if self.top_logprobs is not None and not self.logprobs:
            raise InvalidInputError("top_logprobs needs logprobs: true.", field="top_logprobs")
        self.check_messages()

    @property
    def num_logprobs(self) -> int | None:
        return (self.top_logprobs or 0) if self.logprobs else None


class PromptTokensDetails(BaseModel):
    cached_tokens: int = Field(description="Prompt tokens that an earlier request had left in the cache.")


class UsageOut(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails


class TokenLogprob(BaseModel):
    token: str = Field(description="Its text; `bytes:\\xNN…` for a part of a character.")
    logprob: float
    bytes: list[int]


class TokenLogprobWithTop(TokenLogprob):
    top_logprobs: list[TokenLogprob]


class ChatLogprobs(BaseModel):
    content: list[TokenLogprobWithTop]
    refusal: None = None


class ReplyMessage(BaseModel):
    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class ChatChoice(BaseModel):
    index: int
    message: ReplyMessage
    logprobs: ChatLogprobs | None
    finish_reason: Literal["stop", "length"]
    seed: int = Field(description="Sent again as `seed`, with `n: 1`, it brings this choice again.")
    score: float | None = Field(
        None, description="Of a beam search, with a choice's end: its sum of log-probabilities, by length_penalty."
    )


class ChatCompletionOut(BaseModel):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    system_fingerprint: str = Field(description="Changes with the model's weights.")
    choices: list[ChatChoice]
    usage: UsageOut
    dropped_messages: int = Field(0, description="Oldest messages that were left out (`truncation: auto`).")


class Delta(BaseModel):
    role: Literal["assistant"] | None = None
    content: str | None = None


class ChunkChoice(BaseModel):
    index: int
    delta: Delta
    logprobs: ChatLogprobs | None
    finish_reason: Literal["stop", "length"] | None
    seed: int | None = Field(None, description="With the first chunk of a choice.")
    score: float | None = Field(
        None, description="Of a beam search, with a choice's end: its sum of log-probabilities, by length_penalty."
    )


class ChatCompletionChunk(BaseModel):
    """The data of one event; the last one's is `[DONE]`, or an error object where the text could not be finished."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChunkChoice]
    usage: UsageOut | None = None
    dropped_messages: int = 0


class MessageTokens(BaseModel):
    index: int
    role: str
    num_tokens: int = Field(description="With its label.")


class RenderedPrompt(BaseModel):
    """The prompt, exactly as the model gets it."""

    prompt: str
    token_ids: list[int]
    num_tokens: int
    messages: list[MessageTokens]
    n_positions: int = Field(description="The model's window: prompt and reply together.")
    num_remaining: int = Field(description="Tokens that are left for the reply.")
    dropped_messages: int
    model: str
    stop: list[str] = Field(
        description="What ends a reply: labels of turns, at the beginning of a line, or what the model's template has."
    )
