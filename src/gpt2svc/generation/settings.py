"""The sampling settings that users see: names, defaults, limits and meaning, stated once.

The HTTP schemas, the command line's flags, the OpenAPI page and the web page's sliders are all built from
SETTING_SPECS; the numbers stand nowhere else.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from gpt2svc.engine.sampling_params import SamplingParams
from gpt2svc.errors import InvalidInputError

MAX_SEED = 2**63 - 1
MAX_STOP_STRINGS = 8
MAX_STOP_LENGTH = 64  # characters
MAX_LOGIT_BIAS = 300  # entries
MAX_LOGPROBS = 20


@dataclass(frozen=True, slots=True)
class SettingSpec:
    """One number that users may set: `minimum <= value <= maximum`, `neutral` switches it off."""

    type: type[int] | type[float]
    default: float
    minimum: float
    maximum: float
    neutral: float | None
    description: str


SETTING_SPECS: Mapping[str, SettingSpec] = {
    "temperature": SettingSpec(
        float,
        0.7,
        0.0,
        5.0,
        1.0,
        "Sharpness of the choice: 0 always takes the likeliest token (greedy), higher is more varied.",
    ),
    "top_k": SettingSpec(int, 50, 0, 1000, 0, "Only the k likeliest tokens stay; 0 switches it off."),
    "top_p": SettingSpec(
        float,
        0.9,
        0.0,
        1.0,
        1.0,
        "Only the likeliest tokens that together reach this probability stay (nucleus sampling); 1 switches it off.",
    ),
    "min_p": SettingSpec(
        float,
        0.0,
        0.0,
        1.0,
        0.0,
        "Tokens below this share of the likeliest token's probability drop out; 0 switches it off.",
    ),
    "typical_p": SettingSpec(
        float,
        1.0,
        0.001,
        1.0,
        1.0,
        "Only the most typical tokens up to this probability stay (locally typical sampling); 1 switches it off.",
    ),
    "repetition_penalty": SettingSpec(
        float, 1.2, 0.1, 10.0, 1.0, "Divides the score of tokens already in the prompt or the reply; 1 switches it off."
    ),
    "presence_penalty": SettingSpec(
        float, 0.0, -2.0, 2.0, 0.0, "Taken once off the score of each token already in the reply."
    ),
    "frequency_penalty": SettingSpec(
        float, 0.0, -2.0, 2.0, 0.0, "Taken off the score of a token for each time it stands in the reply."
    ),
    "no_repeat_ngram_size": SettingSpec(
        int, 0, 0, 64, 0, "No run of this many tokens may occur twice; 0 switches it off."
    ),
    "max_new_tokens": SettingSpec(
        int, 100, 1, 1023, None, "The reply's length in tokens at most. `max_length` is an alias."
    ),
    "min_new_tokens": SettingSpec(
        int,
        0,
        0,
        1023,
        0,
        "The model's end-of-text token can't come before this many tokens; a stop string or the next turn still ends "
        "the reply.",
    ),
}


@dataclass(frozen=True, slots=True)
class SamplingSettings:
    """A complete set of settings: what a reply is stored with. Frozen into SamplingParams by `to_params`."""

    temperature: float = 0.7
    top_k: int = 50
    top_p: float = 0.9
    min_p: float = 0.0
    typical_p: float = 1.0
    repetition_penalty: float = 1.2
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    no_repeat_ngram_size: int = 0
    max_new_tokens: int = 100
    min_new_tokens: int = 0
    seed: int | None = None  # None: drawn when the reply is accepted, and stored with it
    stop: tuple[str, ...] = ()  # strings that end the reply; not part of it
    logit_bias: tuple[tuple[int, float], ...] = ()  # (token id, added to its logit)
    logprobs: int | None = None  # top-n log-probabilities with each token

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], base: Self | None = None) -> Self:
        """`base` (else the defaults) with `values` over it; a value of None puts the default back.

        Accepts what JSON gives (lists, string keys in logit_bias). Raises InvalidInputError naming the field
        (`settings.<name>`) and the limit.
        """
        start = base if base is not None else cls()
        changes: dict[str, Any] = {}
        for given, value in values.items():
            name = "max_new_tokens" if given == "max_length" else given
            if given == "max_length" and "max_new_tokens" in values:
                raise InvalidInputError(
                    "settings.max_length is an alias of max_new_tokens: give one of them.", field="settings.max_length"
                )
            changes[name] = _checked(name, value)
        settings = replace(start, **changes)
        if settings.min_new_tokens > settings.max_new_tokens:
            raise InvalidInputError(
                f"settings.min_new_tokens ({settings.min_new_tokens}) is more than max_new_tokens "
                f"({settings.max_new_tokens}).",
                field="settings.min_new_tokens",
            )
        return settings

    def to_mapping(self) -> dict[str, Any]:
        """As JSON holds it: `from_mapping` of the result is equal to this object."""
        values = asdict(self)
        values["stop"] = list(self.stop)
        values["logit_bias"] = {str(token_id): bias for token_id, bias in self.logit_bias}
        return values

    def to_params(self, *, seed: int, stop_token_ids: tuple[int, ...]) -> SamplingParams:
        """For the engine. Stop strings stay behind: text exists only on this side of the worker."""
        values = {name: getattr(self, name) for name in SETTING_SPECS}
        return SamplingParams(
            seed=seed,
            stop_token_ids=stop_token_ids,
            logit_bias=self.logit_bias,
            logprobs=self.logprobs,
            **values,
        )


def _checked(name: str, value: Any) -> Any:
    field = f"settings.{name}"
    if name in SETTING_SPECS:
        spec = SETTING_SPECS[name]
        return spec.type(spec.default) if value is None else _checked_number(field, value, spec)
    if name == "seed":
        return None if value is None else _checked_int(field, value, 0, MAX_SEED)
    if name == "logprobs":
        return None if value is None else _checked_int(field, value, 0, MAX_LOGPROBS)
    if name == "stop":
        return _checked_stop(field, value)
    if name == "logit_bias":
        return _checked_logit_bias(field, value)
    known = ", ".join([*SETTING_SPECS, "seed", "stop", "logit_bias", "logprobs"])
    raise InvalidInputError(f"{field} is not a setting. Settings: {known}.", field=field)


def _checked_number(field: str, value: Any, spec: SettingSpec) -> int | float:
    if spec.type is int:
        return _checked_int(field, value, int(spec.minimum), int(spec.maximum))
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidInputError(f"{field} must be a number, not {type(value).__name__}.", field=field)
    # NOTE: compare before float(): an int of 400 digits would overflow, and NaN fails every comparison.
    if not (spec.minimum <= value <= spec.maximum) or not math.isfinite(value):
        raise InvalidInputError(f"{field} must be from {spec.minimum:g} to {spec.maximum:g}.", field=field)
    return float(value)


def _checked_int(field: str, value: Any, minimum: int, maximum: int) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # JSON writers in some languages send 50.0
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidInputError(f"{field} must be a whole number.", field=field)
    if not minimum <= value <= maximum:
        raise InvalidInputError(f"{field} must be from {minimum} to {maximum}.", field=field)
    return value


def _checked_stop(field: str, value: Any) -> tuple[str, ...]:
    strings = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(strings, list | tuple) or not all(isinstance(s, str) for s in strings):
        raise InvalidInputError(f"{field} must be a string or a list of strings.", field=field)
    if len(strings) > MAX_STOP_STRINGS:
        raise InvalidInputError(f"{field} takes at most {MAX_STOP_STRINGS} strings, not {len(strings)}.", field=field)
    for s in strings:
        if not 1 <= len(s) <= MAX_STOP_LENGTH:
            raise InvalidInputError(
                f"Each string of {field} must have 1 to {MAX_STOP_LENGTH} characters, not {len(s)}.", field=field
            )
        if "\x00" in s or any("\ud800" <= c <= "\udfff" for c in s):
            raise InvalidInputError(f"{field} holds a NUL or a lone surrogate.", field=field)
    return tuple(dict.fromkeys(strings))


def _checked_logit_bias(field: str, value: Any) -> tuple[tuple[int, float], ...]:
    pairs = [] if value is None else list(value.items()) if isinstance(value, Mapping) else value
    if not isinstance(pairs, list | tuple):
        raise InvalidInputError(f"{field} must map token ids to numbers.", field=field)
    if len(pairs) > MAX_LOGIT_BIAS:
        raise InvalidInputError(f"{field} takes at most {MAX_LOGIT_BIAS} entries, not {len(pairs)}.", field=field)
    checked: dict[int, float] = {}
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise InvalidInputError(f"{field} must map token ids to numbers.", field=field)
        token, bias = pair
        if isinstance(token, str) and token.isascii() and token.isdigit() and len(token) <= 9:
            token = int(token)
        if isinstance(token, bool) or not isinstance(token, int) or not 0 <= token < 2**31:
            raise InvalidInputError(f"{field} has a key that is no token id.", field=field)
        if isinstance(bias, bool) or not isinstance(bias, int | float) or not -100 <= bias <= 100:
            raise InvalidInputError(f"Each value of {field} must be from -100 to 100.", field=field)
        checked[token] = float(bias)
    return tuple(sorted(checked.items()))
