"""A flag for every sampling setting, built from the one list in generation/settings.py."""

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from gpt2svc.errors import InvalidInputError
from gpt2svc.generation.settings import MAX_LOGPROBS, SETTING_SPECS, SamplingSettings, SettingSpec

PANEL = "Sampling"
ALIASES = {"max_new_tokens": ("--max-length",)}


class EarlyStop(StrEnum):
    TRUE = "true"
    FALSE = "false"
    NEVER = "never"


_EARLY_STOPPING = {EarlyStop.TRUE: True, EarlyStop.FALSE: False, EarlyStop.NEVER: "never"}


def with_sampling_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Let `command(…, settings=…)` take every sampling setting as a flag.

    `settings` is a checked mapping of just those that were given, in the names and types that JSON has. A wrong value
    raises InvalidInputError in the words of the flags.
    """
    signature = inspect.signature(command)
    own = [parameter for name, parameter in signature.parameters.items() if name != "settings"]
    flags = _flags()

    @functools.wraps(command)
    def wrapper(**values: Any) -> None:
        given = {flag.name: values.pop(flag.name) for flag in flags}
        command(**values, settings=checked_settings(given))

    # NOTE: typer reads both: the signature for the parameters, the annotations for their types.
    wrapper.__signature__ = signature.replace(parameters=[*own, *flags])  # type: ignore[attr-defined]
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *flags)}
    return wrapper


def checked_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `given` that are not None, with `logit_bias` entries "id=value" taken apart.

    Raises InvalidInputError naming the flag and the limit.
    """
    settings = {name: value for name, value in given.items() if value is not None}
    try:
        if "logit_bias" in settings:
            settings["logit_bias"] = dict(_bias(entry) for entry in settings["logit_bias"])
        if "early_stopping" in settings:
            settings["early_stopping"] = _EARLY_STOPPING[settings["early_stopping"]]
        SamplingSettings.from_mapping(settings).require_asked(settings)
    except InvalidInputError as error:
        raise InvalidInputError(in_flag_words(error.message), field=error.field) from error
    return settings


def in_flag_words(text: str) -> str:
    """`settings.top_k must be …` as a user of the command line says it: `--top-k must be …`."""
    return re.sub(r"settings\.(\w+)", lambda match: "--" + match[1].replace("_", "-"), text)


def _bias(entry: str) -> tuple[str, float]:
    token_id, equals, value = entry.partition("=")
    try:
        return token_id.strip(), float(value if equals else "")
    except ValueError:
        raise InvalidInputError(
            f"settings.logit_bias takes a token id and a number, such as 50256=-100, not {entry!r}.",
            field="settings.logit_bias",
        ) from None


def _flags() -> list[inspect.Parameter]:
    return [
        *(_number_flag(name, spec) for name, spec in SETTING_SPECS.items()),
        _flag("seed", int | None, typer.Option(
            "--seed", rich_help_panel=PANEL,
            help="The same seed, prompt and settings give the same reply. Default: drawn for each.",
        )),
        _flag("stop", list[str] | None, typer.Option(
            "--stop", metavar="TEXT", rich_help_panel=PANEL,
            help="End the reply before this text; may be given several times.",
        )),
        _flag("logit_bias", list[str] | None, typer.Option(
            "--logit-bias", metavar="ID=VALUE", rich_help_panel=PANEL,
            help="Add to the score of a token, -100 to 100; may be given several times.",
        )),
        _flag("logprobs", int | None, typer.Option(
            "--logprobs", min=0, max=MAX_LOGPROBS, rich_help_panel=PANEL,
            help="Log-probabilities of each token and of so many likeliest ones (with --json).",
        )),
        _flag("early_stopping", EarlyStop | None, typer.Option(
            "--early-stopping", rich_help_panel=PANEL, case_sensitive=False,
            help="When a beam search is over: true, false (it is not likely to get better) or never (before it can't).",
        )),
        _flag("collapse_repeats", bool | None, typer.Option(
            "--collapse-repeats/--no-collapse-repeats", rich_help_panel=PANEL, show_default=False,
            help="Keep a passage once that is said several times in a row.",
        )),
        _flag("trim_to_sentence", bool | None, typer.Option(
            "--trim-to-sentence/--no-trim-to-sentence", rich_help_panel=PANEL, show_default=False,
            help="Cut the text after its last full sentence.",
        )),
    ]  # fmt: skip


def _number_flag(name: str, spec: SettingSpec) -> inspect.Parameter:
    option = typer.Option(
        f"--{name.replace('_', '-')}",
        *ALIASES.get(name, ()),
        min=spec.type(spec.minimum),
        max=spec.type(spec.maximum),
        help=f"{spec.description} Default: {spec.default:g}.",
        rich_help_panel=PANEL,
    )
    return _flag(name, spec.type | None, option)


def _flag(name: str, kind: Any, option: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, option])
