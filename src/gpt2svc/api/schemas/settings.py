"""Sampling settings on the wire, built on generation/settings.py: names, limits, defaults and meanings stand there."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, Strict

from gpt2svc.api.schemas.values import AS_INT, Number, RequestBody, Text
from gpt2svc.generation.setting_values import MAX_LOGIT_BIAS, MAX_STOP_LENGTH, MAX_STOP_STRINGS
from gpt2svc.generation.settings import MAX_LOGPROBS, MAX_SEED, SETTING_SPECS, SamplingSettings


def _setting(name: str) -> Any:
    """The field of a setting that is a number. Left out, the setting stays as it is; null puts its default back."""
    spec = SETTING_SPECS[name]
    shown = spec.type(spec.default)
    return Field(
        None,
        description=f"{spec.description} Default {shown:g}.",
        examples=[shown],
    )


def _limits(name: str) -> Any:
    spec = SETTING_SPECS[name]
    return Field(ge=spec.type(spec.minimum), le=spec.type(spec.maximum))


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


StopString = Annotated[Text, Field(min_length=1, max_length=MAX_STOP_LENGTH)]
StopStrings = Annotated[
    list[StopString],
    BeforeValidator(_as_list, json_schema_input_type=StopString | list[StopString]),
    Field(max_length=MAX_STOP_STRINGS),
]
TokenId = Annotated[str, Field(pattern=r"^[0-9]{1,9}$")]


class SettingsIn(RequestBody):
    """Sampling settings, all optional. They lie over the conversation's own, and those over the defaults."""

    temperature: Annotated[Number, _limits("temperature")] | None = _setting("temperature")
    top_k: Annotated[int, Strict(), _limits("top_k"), AS_INT] | None = _setting("top_k")
    top_p: Annotated[Number, _limits("top_p")] | None = _setting("top_p")
    min_p: Annotated[Number, _limits("min_p")] | None = _setting("min_p")
    typical_p: Annotated[Number, _limits("typical_p")] | None = _setting("typical_p")
    repetition_penalty: Annotated[Number, _limits("repetition_penalty")] | None = _setting("repetition_penalty")
    presence_penalty: Annotated[Number, _limits("presence_penalty")] | None = _setting("presence_penalty")
    frequency_penalty: Annotated[Number, _limits("frequency_penalty")] | None = _setting("frequency_penalty")
    no_repeat_ngram_size: Annotated[int, Strict(), _limits("no_repeat_ngram_size"), AS_INT] | None = _setting(
        "no_repeat_ngram_size"
    )
    max_new_tokens: Annotated[int, Strict(), _limits("max_new_tokens"), AS_INT] | None = _setting("max_new_tokens")
    max_length: Annotated[int, Strict(), _limits("max_new_tokens"), AS_INT] | None = Field(
        None, description="An alias of `max_new_tokens`; give one of the two."
    )
    min_new_tokens: Annotated[int, Strict(), _limits("min_new_tokens"), AS_INT] | None = _setting("min_new_tokens")
    seed: Annotated[int, Strict(), Field(ge=0, le=MAX_SEED), AS_INT] | None = Field(
        None,
        description="The same seed, prompt, settings and model give the same tokens. Null: drawn for each reply, and "
        "stored with it.",
        examples=[42],
    )
    stop: StopStrings | None = Field(
        None,
        description="Strings that end the reply and are no part of it: "
        f"at most {MAX_STOP_STRINGS}, of 1 to {MAX_STOP_LENGTH} characters each.",
        examples=[["\n\n"]],
    )
    logit_bias: dict[TokenId, Number] | None = Field(
        None,
        max_length=MAX_LOGIT_BIAS,
        description="Token id to a number from -100 to 100, which is added to the token's score.",
        examples=[{"198": -100.0}],
    )
    logprobs: Annotated[int, Strict(), Field(ge=0, le=MAX_LOGPROBS), AS_INT] | None = Field(
        None,
        description="Send each token's log-probability, and those of so many of the likeliest tokens.",
        examples=[3],
    )
    num_beams: Annotated[int, Strict(), _limits("num_beams"), AS_INT] | None = _setting("num_beams")
    num_beam_groups: Annotated[int, Strict(), _limits("num_beam_groups"), AS_INT] | None = _setting("num_beam_groups")
    diversity_penalty: Annotated[Number, _limits("diversity_penalty")] | None = _setting("diversity_penalty")
    length_penalty: Annotated[Number, _limits("length_penalty")] | None = _setting("length_penalty")
    early_stopping: Annotated[bool, Strict()] | Literal["never"] | None = Field(
        None,
        description="When a beam search is over: true, as soon as num_beams beams are finished; false, when the best "
        'live one scores no more than they do; "never", when it can\'t even with the full length. Default false.',
        examples=[True],
    )
    collapse_repeats: Annotated[bool, Strict()] | None = Field(
        None,
        description="Keep a passage once that the reply says several times in a row: at least four words, or whole "
        "sentences. What may be a repetition is sent once that is known. Default false.",
        examples=[True],
    )
    trim_to_sentence: Annotated[bool, Strict()] | None = Field(
        None,
        description="Cut the reply after its last full sentence; one without any stays as it is. A sentence is sent "
        "when the next one begins. Default false.",
        examples=[True],
    )

    def given(self) -> dict[str, Any]:
        """What the request set, null included."""
        return self.model_dump(exclude_unset=True)


def given_settings(settings: SettingsIn | None) -> dict[str, Any] | None:
    """What a request set of them; None where it has none."""
    return settings.given() if settings is not None else None


class SettingsOut(BaseModel):
    """Complete sampling settings."""

    temperature: float
    top_k: int
    top_p: float
    min_p: float
    typical_p: float
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    no_repeat_ngram_size: int
    max_new_tokens: int
    min_new_tokens: int
    seed: int | None = Field(description="Of a reply: the seed that it was made with.")
    stop: list[str]
    logit_bias: dict[str, float]
    logprobs: int | None
    num_beams: int
    num_beam_groups: int
    diversity_penalty: float
    length_penalty: float
    early_stopping: bool | Literal["never"]
    collapse_repeats: bool
    trim_to_sentence: bool

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "SettingsOut":
        """`values` may be partial: a conversation keeps only what was set."""
        return cls.model_validate({**SamplingSettings().to_mapping(), **values})
