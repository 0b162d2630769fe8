"""The completions endpoint on the wire."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, Strict

from gpt2svc.api.schemas.openai_chat import UsageOut
from gpt2svc.api.schemas.openai_parameters import LabelFields
from gpt2svc.api.schemas.openai_sampling import OpenAiSampling
from gpt2svc.api.schemas.values import AS_INT, Number
from gpt2svc.chat.text_input import MAX_CONTENT_LENGTH
from gpt2svc.completions.prompts import RawPrompt
from gpt2svc.errors import InvalidInputError
from gpt2svc.generation.settings import SETTING_SPECS, SamplingSettings

DEFAULT_MAX_TOKENS = 16
MAX_PROMPTS = 128
MAX_BEST_OF = 20
BEST_OF_WITH_SUFFIX = 4
MAX_LEGACY_LOGPROBS = 5
MAX_PROMPT_IDS = 8192  # more than any window

# The model's own distribution, as evaluation wants it and as the interface says: no filter, no penalty.
NEUTRAL_SETTINGS = SamplingSettings(temperature=1.0, top_k=0, top_p=1.0, repetition_penalty=1.0)

PromptText = Annotated[str, Strict()]
TokenId = Annotated[int, Strict(), Field(ge=0, lt=2**31), AS_INT]
TokenIds = Annotated[list[TokenId], Field(min_length=1, max_length=MAX_PROMPT_IDS)]


def _neutral(name: str) -> Any:
    spec = SETTING_SPECS[name]
    default = getattr(NEUTRAL_SETTINGS, name)
    return Field(None, description=f"{spec.description} Default here {default:g}.", examples=[default])


def _limits(name: str) -> Any:
    spec = SETTING_SPECS[name]
    return Field(ge=spec.type(spec.minimum), le=spec.type(spec.maximum))


class CompletionCreate(OpenAiSampling, LabelFields):
    prompt: (
        PromptText
        | TokenIds
        | Annotated[list[PromptText], Field(min_length=1, max_length=MAX_PROMPTS)]
        | Annotated[list[TokenIds], Field(min_length=1, max_length=MAX_PROMPTS)]
        | None
    ) = Field(
        description="Text, or token ids, or a list of either. The spelling of a special token (`<|endoftext|>`) stands "
        "for that token. Null, or empty text, begins a text of its own.",
    )
    temperature: Annotated[Number, _limits("temperature")] | None = _neutral("temperature")
    top_k: Annotated[int, Strict(), _limits("top_k"), AS_INT] | None = _neutral("top_k")
    top_p: Annotated[Number, _limits("top_p")] | None = _neutral("top_p")
    repetition_penalty: Annotated[Number, _limits("repetition_penalty")] | None = _neutral("repetition_penalty")
    max_tokens: (
        Annotated[int, Strict(), Field(ge=0, le=int(SETTING_SPECS["max_new_tokens"].maximum)), AS_INT] | None
    ) = Field(
        None, description=f"New tokens at most; {DEFAULT_MAX_TOKENS} by default. 0, with `echo`, only reads the prompt."
    )
    echo: Annotated[bool, Strict()] | None = Field(None, description="Send the prompt too, before its completion.")
    logprobs: Annotated[int, Strict(), Field(ge=0, le=MAX_LEGACY_LOGPROBS), AS_INT] | None = Field(
        None,
        description="Send each token's log-probability, and so many of the likeliest tokens with it; with `echo` the "
        "prompt's tokens too.",
    )
    best_of: Annotated[int, Strict(), Field(ge=1, le=MAX_BEST_OF), AS_INT] | None = Field(
        None,
        description="Write so many texts for each prompt and send the `n` likeliest, by their mean log-probability a "
        "token. Not with `stream` unless it is `n`. With `suffix` those are sent that lead to it best; "
        f"{BEST_OF_WITH_SUFFIX} by default.",
    )
    suffix: Annotated[PromptText, Field(max_length=MAX_CONTENT_LENGTH)] | None = Field(
        None,
        description="What comes after the completion. The model reads from left to right and can't see it: `best_of` "
        "texts are drawn, and those are sent, perhaps cut, after which the model finds the suffix likeliest. Not with "
        "`stream` or `num_beams`. It is no part of the text that is sent.",
    )

    def check(self) -> None:
        super().check()
        if self.max_tokens == 0 and not self.echo:
            raise InvalidInputError("max_tokens 0 needs echo: true, or there is nothing to send.", field="max_tokens")
        if self.suffix:
            self._check_suffix()
        if (self.num_beams or 1) > 1:
            self._check_beams()
        if self.best_of is not None and self.best_of < self.num_choices:
            raise InvalidInputError(
                f"best_of ({self.best_of}) must be at least n ({self.num_choices}).", field="best_of"
            )
        if self.stream and self.num_sequences > self.num_choices:
            raise InvalidInputError(
                "best_of can't be streamed: which texts are best is known at the end.", field="best_of"
            )

    def _check_suffix(self) -> None:
        if self.stream:
            raise InvalidInputError(
                "suffix can't be streamed: which texts lead to it best is known at the end.", field="suffix"
            )
        if (self.num_beams or 1) > 1:
            raise InvalidInputError(
                "suffix needs texts that are drawn, and num_beams draws none: leave one of them out.", field="suffix"
            )
        if self.max_tokens == 0:
            raise InvalidInputError("suffix needs max_tokens above 0: a text between it and prompt.", field="suffix")

    def _check_beams(self) -> None:
        if self.best_of is not None and self.best_of != self.num_choices:
            raise InvalidInputError(
                "best_of draws texts, and num_beams draws none: leave one of them out.", field="best_of"
            )
        if self.echo and (self.logprobs is not None or self.max_tokens == 0):
            raise InvalidInputError(
                "The prompt can't be scored in a beam search: leave num_beams out.", field="num_beams"
            )

    @property
    def num_choices(self) -> int:
        return self.n or 1

    @property
    def num_sequences(self) -> int:
        """For each prompt."""
        return max(self.best_of or (BEST_OF_WITH_SUFFIX if self.suffix else 1), self.num_choices)

    @property
    def prompts(self) -> tuple[RawPrompt, ...]:
        prompt = self.prompt
        if prompt is None or isinstance(prompt, str):
            return (RawPrompt(prompt or ""),)
        first = prompt[0]
        if isinstance(first, int):
            return (RawPrompt(tuple(prompt)),)  # type: ignore[arg-type]
        return tuple(RawPrompt(each if isinstance(each, str) else tuple(each)) for each in prompt)  # type: ignore[arg-type]


class LegacyLogprobs(BaseModel):
    tokens: list[str] = Field(description="Texts of the tokens; `bytes:\\xNN…` for a part of a character.")
    token_logprobs: list[float | None] = Field(description="Null for the first token of an echoed prompt.")
    top_logprobs: list[dict[str, float] | None] = Field(description="The likeliest tokens, and the one chosen.")
    text_offset: list[int] = Field(description="Where in `text` each token begins, in characters.")


class CompletionChoice(BaseModel):
    index: int
    text: str
    logprobs: LegacyLogprobs | None
    finish_reason: Literal["stop", "length"] | None = Field(description="Null in a stream before the last chunk.")
    seed: int | None = Field(None, description="Sent again as `seed`, with this prompt, it brings this text again.")
    score: float | None = Field(
        None, description="Of a beam search, with a choice's end: its sum of log-probabilities, by length_penalty."
    )


class CompletionOut(BaseModel):
    """An answer, and in a stream the data of one event; the last one's is `[DONE]`, or an error object."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    system_fingerprint: str = Field(description="Changes with the model's weights.")
    choices: list[CompletionChoice]
    usage: UsageOut | None = None
