"""The sampling settings that users see: names, defaults, limits and meaning, stated once.

The HTTP schemas, the command line's flags, the OpenAPI page and the web page's sliders are all built from
SETTING_SPECS; the numbers stand nowhere else.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from gpt2svc.engine.sampling_params import EarlyStopping, SamplingParams
from gpt2svc.errors import InvalidInputError
from gpt2svc.generation.post_processing import PostProcessing
from gpt2svc.generation.setting_values import (
    checked_bool,
    checked_early_stopping,
    checked_int,
    checked_logit_bias,
    checked_number,
    checked_stop,
)

MAX_SEED = 2**63 - 1
MAX_LOGPROBS = 20
MAX_BEAMS = 32


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
    "num_beams": SettingSpec(
        int,
        1,
        1,
        MAX_BEAMS,
        1,
        "Beam search: so many continuations are pursued at once and the likeliest whole is the reply. Nothing is drawn "
        "then, and temperature, top_k, top_p, min_p and typical_p don't apply; 1 switches it off.",
    ),
    "num_beam_groups": SettingSpec(
        int, 1, 1, MAX_BEAMS, 1, "Diverse beam search: groups, a divisor of num_beams, which avoid each other's tokens."
    ),
    "diversity_penalty": SettingSpec(
        float,
        0.0,
        0.0,
        100.0,
        0.0,
        "Taken off a token's score for each beam of an earlier group that has just chosen it.",
    ),
    "length_penalty": SettingSpec(
        float,
        1.0,
        -10.0,
        10.0,
        1.0,
        "A finished beam's score is divided by its length to this power: higher favours longer replies.",
    ),
}

# What has no meaning with beams, and with which value it asks for nothing; what has none without.
_DRAWING = {"temperature": (0, 1), "top_k": (0,), "top_p": (1,), "min_p": (0,), "typical_p": (1,)}
_BEAMS_ONLY = {"length_penalty": (1,), "early_stopping": (False,)}


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
    num_beams: int = 1
    num_beam_groups: int = 1
    diversity_penalty: float = 0.0
    length_penalty: float = 1.0
    early_stopping: EarlyStopping = False
    collapse_repeats: bool = False  # passages said twice in a row are kept once
    trim_to_sentence: bool = False  # the reply is cut after its last full sentence

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], base: Self | None = None, *, is_whole: bool = True) -> Self:
        """`base` (else the defaults) with `values` over it; a value of None puts the default back.

        Accepts what JSON gives (lists, string keys in logit_bias). Raises InvalidInputError naming the field
        (`settings.<name>`) and the limit. Unless the result `is_whole`, only each value by itself is checked.
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
        if is_whole:
            _check_together(settings)
        return settings

    def require_asked(self, asked: Mapping[str, Any]) -> None:
        """Raises InvalidInputError where one request sets, by `asked`, something that these settings can't heed."""
        idle = _DRAWING if self.num_beams > 1 else _BEAMS_ONLY
        for name in idle:
            if asked.get(name) is not None and getattr(self, name) not in idle[name]:
                why = (
                    f"settings.{name} does nothing in a beam search: leave it out, or set num_beams to 1."
                    if self.num_beams > 1
                    else f"settings.{name} needs num_beams above 1."
                )
                raise InvalidInputError(why, field=f"settings.{name}")

    def require_beams(self, num_slots: int) -> None:
        """Raises InvalidInputError where a model that runs so many sequences at once can't pursue all beams."""
        if self.num_beams > num_slots:
            raise InvalidInputError(
                f"settings.num_beams ({self.num_beams}) must be at most {num_slots}: the model runs so many sequences "
                "at once (max_num_seqs), and each beam is one.",
                field="settings.num_beams",
            )

    @property
    def num_computed_tokens(self) -> int:
        """New tokens that are computed at most, over all beams."""
        return self.max_new_tokens * self.num_beams

    def as_applied(self) -> Self:
        """With beams, nothing is drawn: so the settings of drawing are off, whatever the defaults say."""
        if self.num_beams == 1:
            return self
        return replace(self, temperature=0.0, top_k=0, top_p=1.0, min_p=0.0, typical_p=1.0)

    def to_mapping(self) -> dict[str, Any]:
        """As JSON holds it: `from_mapping` of the result is equal to this object."""
        values = asdict(self)
        values["stop"] = list(self.stop)
        values["logit_bias"] = {str(token_id): bias for token_id, bias in self.logit_bias}
        return values

    @property
    def processing(self) -> PostProcessing:
        return PostProcessing(collapse_repeats=self.collapse_repeats, trim_to_sentence=self.trim_to_sentence)

    def to_params(self, *, seed: int, stop_token_ids: tuple[int, ...], num_return_sequences: int = 1) -> SamplingParams:
        """For the engine. Stop strings stay behind: text exists only on this side of the worker."""
        values = {name: getattr(self, name) for name in SETTING_SPECS}
        return SamplingParams(
            seed=seed,
            stop_token_ids=stop_token_ids,
            logit_bias=self.logit_bias,
            logprobs=self.logprobs,
            early_stopping=self.early_stopping,
            num_return_sequences=num_return_sequences,
            **values,
        )


def _checked(name: str, value: Any) -> Any:
    field = f"settings.{name}"
    if name in SETTING_SPECS:
        spec = SETTING_SPECS[name]
        if value is None:
            return spec.type(spec.default)
        return checked_number(field, value, spec.type, spec.minimum, spec.maximum)
    if name == "seed":
        return None if value is None else checked_int(field, value, 0, MAX_SEED)
    if name == "logprobs":
        return None if value is None else checked_int(field, value, 0, MAX_LOGPROBS)
    if name == "stop":
        return checked_stop(field, value)
    if name == "logit_bias":
        return checked_logit_bias(field, value)
    if name == "early_stopping":
        return False if value is None else checked_early_stopping(field, value)
    if name in ("collapse_repeats", "trim_to_sentence"):
        return False if value is None else checked_bool(field, value)
    known = ", ".join(SamplingSettings.__dataclass_fields__)
    raise InvalidInputError(f"{field} is not a setting. Settings: {known}.", field=field)


def _check_together(settings: SamplingSettings) -> None:
    if settings.min_new_tokens > settings.max_new_tokens:
        raise InvalidInputError(
            f"settings.min_new_tokens ({settings.min_new_tokens}) is more than max_new_tokens "
            f"({settings.max_new_tokens}).",
            field="settings.min_new_tokens",
        )
    if settings.num_beams % settings.num_beam_groups:
        raise InvalidInputError(
            f"settings.num_beam_groups ({settings.num_beam_groups}) must be a divisor of num_beams "
            f"({settings.num_beams}).",
            field="settings.num_beam_groups",
        )
    if settings.diversity_penalty and settings.num_beam_groups == 1:
        raise InvalidInputError(
            "settings.diversity_penalty needs num_beam_groups above 1.", field="settings.diversity_penalty"
        )
