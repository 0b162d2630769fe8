"""Sampling on the wire of /v1: OpenAI's names over the settings of the rest of the service."""

from typing import Annotated, Any

from pydantic import Field, Strict, model_validator

from gpt2svc.api.schemas.openai_parameters import PASSING, UNSUPPORTED, StreamOptions
from gpt2svc.api.schemas.settings import SettingsIn
from gpt2svc.api.schemas.values import AS_INT, ModelName
from gpt2svc.errors import InvalidInputError
from gpt2svc.generation.settings import SETTING_SPECS, SamplingSettings

MAX_CHOICES = 128
LENGTH_NAMES = ("max_output_tokens", "max_completion_tokens", "max_tokens", "max_new_tokens", "max_length")
_MAX_NEW = int(SETTING_SPECS["max_new_tokens"].maximum)

NewTokens = Annotated[int, Strict(), Field(ge=1, le=_MAX_NEW), AS_INT]


class OpenAiSampling(SettingsIn):
    """What chats and completions have in common. Settings of the service go by their own names beside OpenAI's."""

    model: ModelName | None = Field(
        None, description="One of `GET /v1/models`; left out, the service's default.", examples=["starter"]
    )
    n: Annotated[int, Strict(), Field(ge=1, le=MAX_CHOICES), AS_INT] | None = Field(
        None, description="Texts for each prompt; 1 by default."
    )
    stream: Annotated[bool, Strict()] | None = Field(None, description="True: server-sent events, up to `[DONE]`.")
    stream_options: StreamOptions | None = Field(None, description="Only with `stream`.")

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, values: Any) -> Any:
        """Parameters that are refused pass as null, or as an empty suffix: clients send what they don't use so."""
        if not isinstance(values, dict):
            return values
        refused = (UNSUPPORTED | PASSING) - cls.model_fields.keys()
        return {name: value for name, value in values.items() if name not in refused or value not in (None, "")}

    def check(self) -> None:
        """What concerns two fields at once. Raises InvalidInputError."""
        if self.stream_options is not None and not self.stream:
            raise InvalidInputError("stream_options may only be given with stream: true.", field="stream_options")
        if (self.num_beams or 1) > 1 and (self.n or 1) > (self.num_beams or 1):
            raise InvalidInputError(
                f"n ({self.n}) must be at most num_beams ({self.num_beams}): a beam search finds no more texts.",
                field="n",
            )
        given = self._given_lengths
        if len(given) > 1:
            raise InvalidInputError(f"{' and '.join(given)} mean the same: give one of them.", field=given[-1])

    @property
    def asked_length(self) -> int | None:
        """New tokens at most, under whichever name; None where the request leaves it open."""
        return next((getattr(self, name) for name in self._given_lengths), None)

    @property
    def length_name(self) -> str:
        """What the request calls the length: errors call it the same."""
        return next(iter(self._given_lengths), "max_tokens")

    @property
    def _given_lengths(self) -> list[str]:
        return [name for name in LENGTH_NAMES if getattr(self, name, None) is not None]

    @property
    def includes_usage(self) -> bool:
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    def sampling(self, base: SamplingSettings, *, num_new: int, logprobs: int | None) -> SamplingSettings:
        """`base` with what the request sets over it; null is as good as left out. Raises InvalidInputError."""
        names = SamplingSettings.__dataclass_fields__.keys() - {"max_new_tokens", "logprobs"}
        given: dict[str, Any] = {
            name: value for name, value in self.given().items() if name in names and value is not None
        }
        settings = SamplingSettings.from_mapping({**given, "max_new_tokens": num_new, "logprobs": logprobs}, base)
        settings.require_asked(given)
        return settings.as_applied()
