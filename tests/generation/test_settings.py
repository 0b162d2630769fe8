import math
from typing import Any

import pytest

from gpt2svc.engine.sampling_params import SamplingParams
from gpt2svc.errors import InvalidInputError
from gpt2svc.generation.settings import SETTING_SPECS, SamplingSettings


def test_defaults_stand_once() -> None:
    settings = SamplingSettings()
    assert {name: getattr(settings, name) for name in SETTING_SPECS} == {
        name: spec.default for name, spec in SETTING_SPECS.items()
    }
    params = SamplingParams(seed=0)
    assert {name: getattr(params, name) for name in SETTING_SPECS} == {
        name: spec.default for name, spec in SETTING_SPECS.items()
    }


def test_a_stored_mapping_gives_the_same_settings_back() -> None:
    settings = SamplingSettings(
        temperature=0.3, seed=2**63 - 1, stop=("кінець", "\n"), logit_bias=((3, -100.0), (7, 2.5)), logprobs=5
    )
    assert SamplingSettings.from_mapping(settings.to_mapping()) == settings


@pytest.mark.parametrize("name", SETTING_SPECS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400, -(10**400), True, "1", [1], {}])
def test_what_is_no_number_in_range_is_named_with_its_field(name: str, value: Any) -> None:
    with pytest.raises(InvalidInputError) as caught:
        SamplingSettings.from_mapping({name: value})
    assert caught.value.field == f"settings.{name}"


@pytest.mark.parametrize("name", SETTING_SPECS)
def test_limits_are_allowed_and_the_next_value_beyond_is_not(name: str) -> None:
    spec = SETTING_SPECS[name]
    step = 1 if spec.type is int else 1e-6
    base = SamplingSettings(max_new_tokens=1023)
    if name in ("num_beam_groups", "diversity_penalty"):
        base = SamplingSettings(num_beams=32, num_beam_groups=2)
    for value in (spec.minimum, spec.maximum):
        assert getattr(SamplingSettings.from_mapping({name: spec.type(value)}, base), name) == value
    for value in (spec.minimum - step, spec.maximum + step):
        with pytest.raises(InvalidInputError, match=f"{name} must be from"):
            SamplingSettings.from_mapping({name: spec.type(value) if spec.type is int else value}, base)


def test_null_puts_the_default_back_over_a_conversation_s_value() -> None:
    base = SamplingSettings.from_mapping({"temperature": 0.1, "seed": 5, "stop": ["x"]})
    settings = SamplingSettings.from_mapping({"temperature": None, "seed": None, "stop": None}, base)
    assert settings == SamplingSettings()


def test_max_length_is_an_alias_but_not_beside_the_name_itself() -> None:
    assert SamplingSettings.from_mapping({"max_length": 7}).max_new_tokens == 7
    with pytest.raises(InvalidInputError, match="alias"):
        SamplingSettings.from_mapping({"max_length": 7, "max_new_tokens": 7})


def test_a_minimum_over_the_maximum_says_both() -> None:
    with pytest.raises(InvalidInputError, match=r"200.*100"):
        SamplingSettings.from_mapping({"min_new_tokens": 200})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stop", ["x"] * 9),
        ("stop", [""]),
        ("stop", ["x" * 65]),
        ("stop", ["a\x00"]),
        ("stop", ["\ud800"]),
        ("stop", [1]),
        ("logit_bias", {"x": 1}),
        ("logit_bias", {"1": 101}),
        ("logit_bias", {"1": math.nan}),
        ("logit_bias", {str(i): 1 for i in range(301)}),
        ("seed", -1),
        ("seed", 2**63),
        ("seed", 1.5),
        ("logprobs", 21),
        ("temprature", 1),
        ("early_stopping", "soon"),
        ("early_stopping", 1),
        ("num_beam_groups", 2),
        ("diversity_penalty", 0.5),
    ],
)
def test_each_other_bad_value_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidInputError) as caught:
        SamplingSettings.from_mapping({name: value})
    assert caught.value.field == f"settings.{name}"


def test_groups_that_do_not_divide_the_beams_say_both() -> None:
    with pytest.raises(InvalidInputError, match=r"\(3\) must be a divisor of num_beams \(4\)"):
        SamplingSettings.from_mapping({"num_beams": 4, "num_beam_groups": 3})


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"num_beams": 4, "temperature": 0.9}, "temperature"),
        ({"num_beams": 4, "top_k": 5}, "top_k"),
        ({"num_beams": 4, "top_p": 0.5}, "top_p"),
        ({"num_beams": 4, "min_p": 0.1}, "min_p"),
        ({"num_beams": 4, "typical_p": 0.5}, "typical_p"),
        ({"length_penalty": 2.0}, "length_penalty"),
        ({"early_stopping": "never"}, "early_stopping"),
    ],
)
def test_a_request_that_asks_for_what_can_not_be_heeded_is_refused_by_name(asked: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        SamplingSettings.from_mapping(asked).require_asked(asked)
    assert caught.value.field == f"settings.{field}"


def test_beams_switch_drawing_off_where_it_was_only_a_default() -> None:
    asked = {"num_beams": 4, "early_stopping": True, "repetition_penalty": 1.3, "temperature": None, "top_p": 1.0}
    settings = SamplingSettings.from_mapping(asked, SamplingSettings(temperature=0.9, top_k=7))
    settings.require_asked(asked)
    applied = settings.as_applied()
    assert (applied.temperature, applied.top_k, applied.top_p, applied.typical_p) == (0.0, 0, 1.0, 1.0)
    assert (applied.num_beams, applied.early_stopping, applied.repetition_penalty) == (4, True, 1.3)
    again = applied.to_mapping()
    SamplingSettings.from_mapping(again).require_asked(again)  # what a reply was made with may be sent again
    assert SamplingSettings().as_applied() == SamplingSettings()
