"""Responses on the wire: what a request may ask. What comes back is in openai_response_object.py."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, Strict

from gpt2svc.api.schemas.openai_parameters import EmptyList, Label, TextFormat
from gpt2svc.api.schemas.openai_sampling import NewTokens, OpenAiSampling
from gpt2svc.api.schemas.values import AS_INT, RequestBody, Text
from gpt2svc.chat.text_input import MAX_CONTENT_LENGTH
from gpt2svc.errors import InvalidInputError
from gpt2svc.generation.settings import MAX_LOGPROBS
from gpt2svc.persistence.records import InputRole

MAX_INPUT_ITEMS = 2048
MAX_EVENT_NUMBER = 999_999_999

Logprobs = Literal["message.output_text.logprobs"]
Content = Annotated[Text, Field(max_length=MAX_CONTENT_LENGTH)]
ResponseId = Annotated[Text, Field(min_length=1, max_length=64)]
MetadataKey = Annotated[Text, Field(max_length=64)]


class InputPart(RequestBody):
    """`output_text` is what an earlier response's output holds."""

    type: Literal["input_text", "output_text"]
    text: Content
    annotations: EmptyList | None = None
    logprobs: list[Any] | None = Field(None, description="As an output has them; nothing depends on it.")


class InputMessage(RequestBody):
    """A message, also one of an earlier response's output."""

    type: Literal["message"] | None = None
    role: InputRole
    content: Content | list[InputPart]
    id: Label | None = Field(None, description="Accepted; messages get ids of their own.")
    status: Literal["in_progress", "completed", "incomplete"] | None = Field(None, description="Accepted.")
    phase: None = None

    @property
    def text(self) -> str:
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class TextConfig(RequestBody):
    format: TextFormat | None = None
    verbosity: None = None


class ResponseStreamOptions(RequestBody):
    include_obfuscation: Literal[False] | None = Field(None, description="Only false: nothing is padded here.")


class ResponseCreate(OpenAiSampling):
    # Honoured here, though elsewhere these pass only because they ask for nothing.
    HONOURED: ClassVar[frozenset[str]] = frozenset({"store", "metadata"})
    # And the other way round: 1, and plain text, are all that these may ask for.
    ACCEPTED: ClassVar[frozenset[str]] = frozenset({"n", "text"})

    input: Content | Annotated[list[InputMessage], Field(min_length=1, max_length=MAX_INPUT_ITEMS)] = Field(
        description="What a user says, or messages. System and developer messages stand as plain text before the first "
        "turn, wherever in the list they are."
    )
    instructions: Content | None = Field(
        None, description="A system message before all others, for this response only: those that follow it drop it."
    )
    previous_response_id: ResponseId | None = Field(
        None,
        description="A stored response that this one follows: its input, its reply and those before it come first.",
    )
    store: Annotated[bool, Strict()] | None = Field(
        None, description="True by default. False: nothing of it is written down, and it can't be read again."
    )
    background: Annotated[bool, Strict()] | None = Field(
        None, description="True: the answer comes at once, as `queued`, and the reply is written without its client."
    )
    stream_options: ResponseStreamOptions | None = Field(  # type: ignore[assignment]
        None, description="Only with `stream`."
    )
    max_output_tokens: NewTokens | None = Field(None, description="The reply's length in tokens at most.")
    truncation: Literal["auto", "disabled"] | None = Field(
        None,
        description="What happens to messages that don't fit the model's window. `disabled`, the default: the request "
        "is refused with `context_length_exceeded`. `auto`: whole turns drop from the front, by the budget that "
        "conversations have; `dropped_messages` in the answer says how many messages that were.",
    )
    include: Annotated[list[Logprobs], Field(max_length=16)] | None = Field(
        None, description="`message.output_text.logprobs`: send each token's log-probability."
    )
    top_logprobs: Annotated[int, Strict(), Field(ge=0, le=MAX_LOGPROBS), AS_INT] | None = Field(
        None, description="Send so many of the likeliest tokens with each; needs `include`."
    )
    metadata: Annotated[dict[MetadataKey, Label], Field(max_length=16)] | None = Field(
        None, description="Stored with the response and sent back; nothing else depends on it."
    )
    n: Literal[1] | None = Field(None, description="Only 1.")
    logprobs: None = Field(None, description="Here it is `include` and `top_logprobs`.")
    prompt: None = Field(None, description="Not supported: there are no stored prompts.")
    text: TextConfig | None = Field(None, description='Only {"format": {"type": "text"}}.')
    user: Label | None = Field(None, description="Accepted; nothing depends on it.")
    safety_identifier: Label | None = Field(None, description="Accepted; nothing depends on it.")
    prompt_cache_key: Label | None = Field(None, description="Accepted; prefixes are found without it.")
    tools: EmptyList | None = Field(None, description="Only []: these models can't call tools.")
    tool_choice: Literal["none", "auto"] | None = Field(None, description="Only none or auto, as there are no tools.")
    parallel_tool_calls: bool | None = Field(None, description="Accepted, as there are no tools.")
    service_tier: Literal["auto", "default"] | None = Field(None, description="Only auto or default: there is one.")

    @property
    def is_stored(self) -> bool:
        return self.store is not False

    @property
    def messages(self) -> list[tuple[InputRole, str]]:
        if isinstance(self.input, str):
            return [("user", self.input)]
        return [(message.role, message.text) for message in self.input]

    @property
    def num_logprobs(self) -> int | None:
        return (self.top_logprobs or 0) if self.include else None

    def check(self) -> None:
        super().check()
        if self.background and not self.is_stored:
            raise InvalidInputError(
                "background needs store: true, since its reply is read from the store.", field="background"
            )
        if self.top_logprobs is not None and not self.include:
            raise InvalidInputError(
                'top_logprobs needs include: ["message.output_text.logprobs"].', field="top_logprobs"
            )


class ResponseQuery(BaseModel):
    """Arrays come as `include=…` or, from OpenAI's clients, as `include[]=…`."""

    model_config = ConfigDict(extra="forbid")

    stream: bool = Field(False, description="True: server-sent events, from the first on or from `starting_after`.")
    starting_after: Annotated[int, Field(ge=0, le=MAX_EVENT_NUMBER)] | None = Field(
        None, description="With `stream`: the `sequence_number` of the last event seen."
    )
    include: list[Logprobs] = Field(
        [], description="Log-probabilities are there where the response was asked for them."
    )
    include_list: list[Logprobs] = Field([], alias="include[]", description="As `include`.")
    include_obfuscation: Literal["false"] | None = Field(None, description="Only false: nothing is padded here.")

    def check(self) -> None:
        """Raises InvalidInputError."""
        if self.starting_after is not None and not self.stream:
            raise InvalidInputError("starting_after may only be given with stream=true.", field="starting_after")


class InputItemQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    limit: int = Field(20, ge=1, le=100, description="Entries on a page.")
    order: Literal["asc", "desc"] = Field("desc", description="desc: the last message first.")
    after: Annotated[Text, Field(max_length=64)] | None = Field(
        None, description="Id of the last entry of the page before."
    )
    include: list[Logprobs] = Field([], description="Accepted: input has no log-probabilities.")
    include_list: list[Logprobs] = Field([], alias="include[]", description="As `include`.")
