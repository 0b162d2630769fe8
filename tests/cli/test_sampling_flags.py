from collections.abc import Mapping
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from gpt2svc.cli.sampling_flags import checked_settings, with_sampling_flags
from gpt2svc.errors import InvalidInputError
from gpt2svc.generation.settings import SETTING_SPECS, SamplingSettings


def app_that_keeps(calls: list[tuple[str, Mapping[str, Any]]]) -> typer.Typer:
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    @with_sampling_flags
    def command(prompt: str, *, settings: Mapping[str, Any]) -> None:
        calls.append((prompt, settings))

    return app


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def test_every_setting_is_a_flag_and_only_what_was_given_arrives() -> None:
    calls: list[tuple[str, Mapping[str, Any]]] = []
    given = {name: spec.type(spec.minimum) for name, spec in SETTING_SPECS.items()}
    given["length_penalty"] = 1.0  # others need num_beams, and those nothing that draws
    arguments = [part for name, value in given.items() for part in (flag(name), str(value))]
    more = ["--seed", "5", "--stop", "a", "--stop", "б", "--logit-bias", "7=-1.5", "--logprobs", "2"]
    more += ["--early-stopping", "false", "--collapse-repeats", "--no-trim-to-sentence"]
    app = app_that_keeps(calls)
    assert CliRunner().invoke(app, ["hi", *arguments, *more]).exit_code == 0
    assert CliRunner().invoke(app, ["hi"]).exit_code == 0
    extra = {"seed": 5, "stop": ["a", "б"], "logit_bias": {"7": -1.5}, "logprobs": 2, "early_stopping": False}
    extra |= {"collapse_repeats": True, "trim_to_sentence": False}
    assert calls == [("hi", {**given, **extra}), ("hi", {})]
    assert {*given, *extra} == set(SamplingSettings().to_mapping())


@pytest.mark.parametrize("name", SETTING_SPECS)
def test_each_limit_is_checked_and_told(name: str) -> None:
    spec = SETTING_SPECS[name]
    for value in (spec.minimum - 1, spec.maximum + 1):
        result = CliRunner().invoke(app_that_keeps([]), ["hi", flag(name), str(spec.type(value))])
        assert result.exit_code == 2
        assert flag(name) in result.output


def test_max_length_is_an_alias() -> None:
    calls: list[tuple[str, Mapping[str, Any]]] = []
    CliRunner().invoke(app_that_keeps(calls), ["hi", "--max-length", "9"])
    assert calls == [("hi", {"max_new_tokens": 9})]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"temperature": float("nan")}, "--temperature must be from 0 to 5"),
        ({"logit_bias": ["7"]}, "--logit-bias takes a token id and a number"),
        ({"logit_bias": ["x=1"]}, "--logit-bias has a key that is no token id"),
        ({"logit_bias": ["7=1000"]}, "--logit-bias must be from -100 to 100"),
        ({"stop": [""]}, "--stop must have 1 to 64 characters"),
        ({"seed": -1}, "--seed must be from 0"),
        ({"min_new_tokens": 101}, "--min-new-tokens"),
    ],
)
def test_wrong_values_are_told_in_the_words_of_the_flags(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        checked_settings(given)
